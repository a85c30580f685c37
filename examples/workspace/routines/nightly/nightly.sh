#!/bin/sh
echo "it is $(date -u +%H:%M) UTC, slot $ROUTINE_SLOT, run $ROUTINE_RUN_ID"

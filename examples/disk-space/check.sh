#!/bin/sh
set -eu
full=$(df -P $PLACES | awk -v limit="$LIMIT" 'NR > 1 { sub("%", "", $5); if ($5 + 0 > limit) print $6 " is " $5 "% full" }' | sort -u)
if [ -z "$full" ]; then
    : > "$ROUTINE_RESULT"       # an empty result: nothing to report, the outcome is `quiet`
    exit 0
fi
echo "$full"
exit 1

#!/bin/sh
set -eu
if [ -d "$MIRROR" ]; then
    git -C "$MIRROR" remote update --prune >/dev/null
else
    git clone --quiet --mirror "$SOURCE" "$MIRROR"
fi
echo "$(git -C "$MIRROR" for-each-ref | wc -l) refs, newest commit $(git -C "$MIRROR" log --all -1 --format=%h 2>/dev/null)"

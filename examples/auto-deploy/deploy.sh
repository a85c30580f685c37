#!/bin/sh
# Bring a checkout up to date and run its `make deploy`. A push to another branch is none of our business.
set -eu
grep -q "\"refs/heads/$BRANCH\"" "$ROUTINE_PAYLOAD" || { : > "$ROUTINE_RESULT"; exit 0; }
cd "$CHECKOUT"
git pull --quiet --ff-only
make deploy
echo "deployed $(git rev-parse --short HEAD)" > "$ROUTINE_RESULT"

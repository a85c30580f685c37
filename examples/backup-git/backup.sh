#!/bin/sh
# One bundle for each slot: a second run for the same slot writes the same file, so nothing is doubled.
set -eu
mkdir -p "$TARGET"
stamp=$(echo "$ROUTINE_SLOT" | tr -d ':-')
bundle="$TARGET/repository-$stamp.bundle"
git -C "$REPOSITORY" bundle create --quiet "$(cd "$TARGET" && pwd)/.new.bundle" --all
git -C "$REPOSITORY" bundle verify --quiet "$(cd "$TARGET" && pwd)/.new.bundle"
mv "$TARGET/.new.bundle" "$bundle"
ls -1 "$TARGET"/repository-*.bundle | sort -r | tail -n +"$((KEEP + 1))" | while read -r old; do
    rm -- "$old"
    echo "pruned ${old##*/}"
done
echo "${bundle##*/}: $(du -h "$bundle" | cut -f1), $(ls -1 "$TARGET"/repository-*.bundle | wc -l) kept" > "$ROUTINE_RESULT"

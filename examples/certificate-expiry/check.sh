#!/bin/sh
set -eu
bad=0 count=0
for file in "$CERTIFICATES"/*.pem; do
    count=$((count + 1))
    if ! openssl x509 -in "$file" -noout -checkend "$((DAYS * 86400))" >/dev/null; then
        echo "${file##*/} ends on $(openssl x509 -in "$file" -noout -enddate | cut -d= -f2)"
        bad=1
    fi
done
[ "$bad" = 0 ] && echo "$count certificates are good for $DAYS days and more"
exit "$bad"

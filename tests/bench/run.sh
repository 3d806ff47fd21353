#!/bin/sh
# Every benchmark, one after the other: see README in this folder. Run in a build
# folder (`make bench`), as root where Postfix and Dovecot shall be compared.
# --quick shortens the rounds. About a quarter of an hour.
here=$(dirname "$0")
python=${PYTHON:-/usr/bin/python3}
[ -x "${BUILD:-.}/tests/bench/smtpload" ] || {
	echo "build tests/bench/smtpload first: make bench does" >&2
	exit 2
}
echo "$(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg), $(uname -sr)"
failed=0
for script in accept deliver relay fairness sites fanout idle imap start; do
	"$python" "$here/$script.py" "$@" || failed=1
	echo
done
exit $failed

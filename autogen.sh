#!/bin/sh
# Makes ./configure from configure.ac (only a git checkout needs this).
set -e
cd "$(dirname "$0")"
exec autoreconf -fi

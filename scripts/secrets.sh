#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml hands to PostgreSQL and the worker, in the folder secrets/. One that exists is
# kept: the password is part of the database by then.
set -euo pipefail
cd "$(dirname "$0")/.."

umask 077
mkdir -p secrets
echo '*' >secrets/.gitignore
if [ ! -s secrets/postgres_password ]; then
	od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >secrets/postgres_password
fi
printf 'postgres://dunlin:%s@postgres:5432/dunlin?sslmode=disable' "$(cat secrets/postgres_password)" >secrets/database_url
# The programs of the containers run as users of their own and must read the files; on this machine the folder is closed.
chmod 644 secrets/postgres_password secrets/database_url
echo "secrets/ is ready."

#!/usr/bin/env bash
# Checks and tests everything: scripts/test.sh, or `make test`. It needs Go and nothing prepared: what else is missing is
# installed where that is allowed (root, or sudo without a password, and apt-get), else named. Redis and PostgreSQL are
# started for this run alone, on free ports with their data in a temporary folder, and stopped at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/go/bin:/usr/sbin:/sbin"

say() { printf '== %s\n' "$*"; }
fail() {
	printf 'test.sh: %s\n' "$*" >&2
	exit 1
}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/dunlin-test-XXXXXX")
chmod 755 "$tmp" # PostgreSQL's user must get to its folder below
redis_pid= postgres_data= memory=
cleanup() {
	if [ -n "$redis_pid" ]; then kill "$redis_pid" 2>/dev/null && wait "$redis_pid" || true; fi
	if [ -n "$postgres_data" ]; then as_postgres "$postgres_bin/pg_ctl" -D "$postgres_data" -m immediate -w stop >/dev/null 2>&1 || true; fi
	rm -rf "$tmp" ${memory:+"$memory"}
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# --- what must be installed ---------------------------------------------------------------------------------------------

postgres_dir() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5,5n | tail -n 1; }

missing=()
command -v redis-server >/dev/null && command -v redis-cli >/dev/null || missing+=(redis-server)
[ -n "$(postgres_dir)" ] || command -v initdb >/dev/null || missing+=(postgresql)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
# The race detector needs a C compiler.
command -v "${CC:-gcc}" >/dev/null || missing+=(gcc libc6-dev)
if [ ${#missing[@]} -gt 0 ]; then
	root=()
	[ "$(id -u)" = 0 ] || root=(sudo -n)
	if ! command -v apt-get >/dev/null || ! "${root[@]}" true 2>/dev/null; then
		fail "please install: ${missing[*]} (on Debian: sudo apt-get install ${missing[*]}), then run this again"
	fi
	say "installing ${missing[*]}"
	{ "${root[@]}" apt-get update -q && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"; } >"$tmp/apt.log" 2>&1 ||
		{ tail -n 20 "$tmp/apt.log" >&2; fail "apt-get could not install ${missing[*]}"; }
fi
command -v go >/dev/null || fail "there is no Go: install the version that go.mod names, or a later one (https://go.dev/dl/)"

# A home that is missing or not writable must not stop Go from keeping its caches.
[ -w "${HOME:-/nonexistent}" ] || export HOME="$tmp/home"
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
# A developer's own settings have no part in the tests: above all, no test may know a real key.
for name in $(compgen -v | grep -E '^(DUNLIN|TWILIO)_' || true); do unset "$name"; done

# --- checks -------------------------------------------------------------------------------------------------------------

say "format"
unformatted=$("$(go env GOROOT)/bin/gofmt" -l .)
[ -z "$unformatted" ] || fail "gofmt would change:
$unformatted"
say "vet"
go vet ./...
say "staticcheck"
go tool staticcheck ./...
say "known vulnerabilities"
if ! command -v curl >/dev/null || ! curl -fsS --max-time 10 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then
	echo "skipped: the vulnerability data cannot be reached from here"
elif ! timeout 300 go tool govulncheck ./...; then
	# What is known changes by the day, and a commit that has not changed must not turn red by it.
	echo "see above; this does not fail the tests, \`make vuln\` does"
fi

# --- servers ------------------------------------------------------------------------------------------------------------

# A port below those that the system hands out by itself. It may be taken all the same: each start below makes sure that
# it is our server that answers, and tries another port otherwise.
random_port() { echo $((20000 + (RANDOM * 32768 + RANDOM) % 10000)); }

say "starting Redis and PostgreSQL"
start_redis() {
	local port pid
	for _ in 1 2 3 4 5 6 7 8; do
		port=$(random_port)
		redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --databases 1024 --maxmemory-policy noeviction \
			--dir "$tmp" --logfile "$tmp/redis.log" --daemonize no </dev/null >/dev/null 2>&1 &
		pid=$!
		while kill -0 "$pid" 2>/dev/null; do
			if redis-cli -h 127.0.0.1 -p "$port" info server 2>/dev/null | grep -q "^process_id:$pid[[:space:]]*$"; then
				redis_pid=$pid
				export DUNLIN_TEST_REDIS_URL="redis://127.0.0.1:$port/0"
				return
			fi
			sleep 0.05
		done
	done
	tail -n 20 "$tmp/redis.log" >&2
	fail "Redis did not start"
}

# PostgreSQL refuses to run as root.
postgres_user=
if [ "$(id -u)" = 0 ]; then
	postgres_user=nobody
	if id postgres >/dev/null 2>&1; then postgres_user=postgres; fi
fi
as_postgres() {
	if [ -z "$postgres_user" ]; then
		(cd "$tmp/postgres" && "$@")
	else
		(cd "$tmp/postgres" && runuser -u "$postgres_user" -- "$@")
	fi
}
postgres_bin=$(postgres_dir)
[ -n "$postgres_bin" ] || postgres_bin=$(dirname "$(command -v initdb)")
start_postgres() {
	local port
	mkdir "$tmp/postgres"
	[ -z "$postgres_user" ] || chown "$postgres_user" "$tmp/postgres"
	as_postgres "$postgres_bin/initdb" -D "$tmp/postgres/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$tmp/initdb.log" 2>&1 ||
		{ tail -n 20 "$tmp/initdb.log" >&2; fail "initdb did not work"; }
	for _ in 1 2 3 4 5 6 7 8; do
		port=$(random_port)
		# The data need not outlive a power cut. pg_ctl waits until the server that it started answers, or has ended.
		if as_postgres "$postgres_bin/pg_ctl" -D "$tmp/postgres/data" -l "$tmp/postgres/log" -w -t 30 start \
			-o "-p $port -k $tmp/postgres -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300" \
			</dev/null >/dev/null 2>&1; then
			postgres_data=$tmp/postgres/data
			export DUNLIN_TEST_POSTGRES_URL="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
			return
		fi
	done
	tail -n 20 "$tmp/postgres/log" >&2
	fail "PostgreSQL did not start"
}
start_redis
start_postgres
export DUNLIN_TEST_REQUIRE=1

# --- tests --------------------------------------------------------------------------------------------------------------

# The build of the image and of `make build`; the tests run with the race detector and so do not prove that it works.
say "build"
CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$tmp/bin/" ./cmd/...

say "tests"
parallel=$(nproc)
# What the tests prove is order, not that a disk keeps its word: their ledgers lie in memory where there is enough.
if [ -w /dev/shm ] && [ "$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')" -gt 2000000 ]; then
	memory=$(mktemp -d /dev/shm/dunlin-test-XXXXXX)
	chmod 755 "$memory"
	export GOTMPDIR="$tmp" TMPDIR="$memory"
fi
go test -race -timeout 45m -p "$((parallel < 4 ? parallel : 4))" ./...

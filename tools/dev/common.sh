# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# common.sh - what the developer scripts share; sourced by bash
#
# Sets root to the checkout, whatever directory the script was called from.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say()
{
	printf '\n==> %s\n' "$*"
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# Number of parallel jobs: the cores this process may use.
jobs=$(nproc)

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "root is needed for: $* (and there is no sudo)"
	fi
}

is_installed()
{
	case $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) in
	ii*) return 0 ;;
	*) return 1 ;;
	esac
}

# refresh_package_lists - apt-get update, once in the life of the script
package_lists_are_fresh=
refresh_package_lists()
{
	[ -z "$package_lists_are_fresh" ] || return 0
	package_lists_are_fresh=yes
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq ||
		echo "apt-get update failed; going on with the lists there are"
}

# install_packages PACKAGE... - install those that are missing, and say so
install_packages()
{
	local package missing=()

	for package; do
		is_installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null ||
		die "there is no apt-get here; please install: ${missing[*]}"
	say "installing ${missing[*]}"
	refresh_package_lists
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		--no-install-recommends "${missing[@]}" >/dev/null ||
		die "apt-get could not install: ${missing[*]}"
}

# configure BUILDDIR OPTION... - set a build directory up, or up to date
configure()
{
	local builddir=$1 log

	shift
	mkdir -p "$builddir"
	log=$builddir/setup.log
	if [ -f "$builddir/build.ninja" ]; then
		set -- --reconfigure "$@"
	fi
	if ! meson setup "$@" "$builddir" "$root" >"$log" 2>&1; then
		tail -n 40 "$log"
		return 1
	fi
}

# compile BUILDDIR [TARGET...] - build everything, or these; quiet unless it fails
compile()
{
	local builddir=$1 log=$1/compile.log

	shift
	if ! ninja -C "$builddir" -j "$jobs" "$@" >"$log" 2>&1; then
		# The errors, not the hundreds of lines of what went well.
		grep -v '^\[[0-9]*/[0-9]*\] [A-Z][a-z]* ' "$log" | tail -n 80
		return 1
	fi
}

# ------------------------------------------------------------- tests, counted

# Only what these tests and suites run is built; nothing in it: everything.
needed=()

# What programs under test are started with: nothing, or a command.
launcher=()

# Tests wait for storage, too.
processes=$((jobs + (jobs + 1) / 2))

# count_tests_in NAME - set builds and begin to count, in the file counts-NAME
count_tests_in()
{
	builds=${QCF_TEST_BUILD:-$root/build-test}
	mkdir -p "$builds"
	builds=$(cd "$builds" && pwd)
	counts=$builds/counts-$1
	: >"$counts"
	started=$SECONDS
}

# say_counts - the last line; fails if a test did, or if there was none
say_counts()
{
	say "done in $((SECONDS - started)) s"
	awk '{ p += $1; f += $2; s += $3 }
		END {
			printf "%d passed, %d failed, %d skipped\n", p, f, s
			exit f > 0 || p == 0
		}' "$counts"
}

# A step that is one test by itself.

passed()
{
	echo "ok: $*"
	echo 1 0 0 >>"$counts"
}

failed()
{
	echo "FAILED: $*"
	echo 0 1 0 >>"$counts"
}

skipped()
{
	echo "SKIPPED: $*"
	echo 0 0 1 >>"$counts"
}

# programs_of BUILDDIR TEST... - print the targets that tests and suites run
programs_of()
{
	local builddir=$1

	shift
	meson introspect --tests --targets "$builddir" | python3 -c '
import json, os, sys
builddir, *names = sys.argv[1:]
about = json.load(sys.stdin)
files = {target["id"]: target["filename"] for target in about["targets"]}
for test in about["tests"]:
    if {test["name"], *(s.split(":")[-1] for s in test["suite"])} & set(names):
        for needed in test["depends"]:
            for name in files.get(needed, []):
                print(os.path.relpath(os.path.realpath(name),
                                      os.path.realpath(builddir)))
' "$builddir" "$@" | sort -u
}

# build NAME OPTION... - configure and compile, counted as a test
#
# What only the tests and suites in $needed run, if there are any.
build()
{
	local name=$1 targets=()

	shift
	if configure "$builds/$name" -Dwerror=true "$@" &&
		if [ ${#needed[@]} -gt 0 ]; then
			mapfile -t targets < \
				<(programs_of "$builds/$name" "${needed[@]}")
		fi &&
		compile "$builds/$name" "${targets[@]}"; then
		passed "$name builds without a warning"
	else
		failed "$name does not build"
		return 1
	fi
}

# run_tests NAME SLOWNESS ARGUMENT... - meson test, each test counted
#
# SLOWNESS is by what the time limits of tests are multiplied.
run_tests()
{
	local dir=$builds/$1 slowness=$2 log status

	shift 2
	rm -f "$dir"/meson-logs/testlog*.json
	CK_TIMEOUT_MULTIPLIER=$slowness "${launcher[@]}" meson test -C "$dir" \
		--no-rebuild --num-processes "$processes" \
		--timeout-multiplier "$slowness" "$@" >"$dir/test.log" 2>&1
	status=$?
	# With a wrapper the wrapper's name is part of the log's.
	log=$(compgen -G "$dir/meson-logs/testlog*.json")
	if [ ! -s "$log" ]; then
		tail -n 20 "$dir/test.log"
		failed "meson test $* ran nothing"
		return
	fi
	# shellcheck disable=SC2086 # no word or one
	python3 "$root/tools/dev/meson_report.py" ${again:-} "$log" "$counts"
	# Meson ends with the number of failed tests, but also tells this way
	# that it could not run them.
	if [ $? -eq 0 ] && [ $status -ne 0 ]; then
		tail -n 20 "$dir/test.log"
		failed "meson test $* ended with $status"
	fi
}

# cpu_seconds - how much of the processors this script and its children used
cpu_seconds()
{
	local hertz

	hertz=$(getconf CLK_TCK)
	# Past the name, which may hold anything: fields 14 to 17 are times.
	sed 's/.*) //' "/proc/$$/stat" |
		awk -v hertz="$hertz" '{ print int(($12 + $13 + $14 + $15) / hertz) }'
}

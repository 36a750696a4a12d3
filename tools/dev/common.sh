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

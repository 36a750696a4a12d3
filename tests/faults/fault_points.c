/* SPDX-License-Identifier: MIT */
/* fault_points.c - everything that can be made to fail, counted in one place */
#include <stdatomic.h>

#include "alloc_faults.h"
#include "fault_points.h"

#define SECTOR 512u

static struct fault armed;
static uint64_t fail_at;
static atomic_uint_fast64_t visits, made, fsyncs;
static atomic_bool is_inside;

const char *fault_site_name(enum fault_site site)
{
	static const char *const names[FAULT_SITES] = {
		[FAULT_MEMORY] = "memory",
		[FAULT_READ] = "read",
		[FAULT_WRITE] = "write",
		[FAULT_FLUSH] = "flush",
		[FAULT_SIZE] = "size",
		[FAULT_TRUNCATE] = "truncate",
		[FAULT_ZERO] = "zero",
		[FAULT_DISCARD] = "discard",
		[FAULT_ALLOCATE] = "allocate",
		[FAULT_EXTENT] = "extent",
		[FAULT_SPACE] = "space",
		[FAULT_SYS_PREADV] = "preadv()",
		[FAULT_SYS_PWRITEV] = "pwritev()",
		[FAULT_SYS_FDATASYNC] = "fdatasync()",
		[FAULT_SYS_FSYNC] = "fsync()",
		[FAULT_SYS_FTRUNCATE] = "ftruncate()",
		[FAULT_SYS_FALLOCATE] = "fallocate()",
		[FAULT_SYS_LSEEK] = "lseek()",
		[FAULT_SYS_FSTAT] = "fstat()",
		[FAULT_SYS_OPEN] = "open()",
		[FAULT_SYS_FCNTL] = "fcntl()",
		[FAULT_SYS_COPY] = "copy_file_range()",
		[FAULT_SYS_WRITE] = "write()",
		[FAULT_SYS_UNLINK] = "unlink()",
		[FAULT_SYS_SPACE] = "space in a file",
	};

	return names[site];
}

void faults_arm(const struct fault *fault, uint64_t nth)
{
	armed = *fault;
	visits = 0;
	made = 0;
	fail_at = fault->site == FAULT_MEMORY ? 0 : nth;
	alloc_faults_set(fault->site == FAULT_MEMORY ? nth : 0, fault->sticky);
}

void faults_disarm(void)
{
	made += alloc_faults_refused();
	visits += alloc_faults_calls();
	fail_at = 0;
	alloc_faults_set(0, false);
	is_inside = false;
}

uint64_t faults_made(void)
{
	return made + alloc_faults_refused();
}

uint64_t faults_visits(void)
{
	return visits + alloc_faults_calls();
}

void faults_inside(bool inside)
{
	is_inside = inside;
	alloc_faults_inside(inside);
}

static bool concerns(enum fault_site site)
{
	bool system = site >= FAULT_SYS_PREADV;

	/* What is to be removed after a failure cannot be, then. */
	if (armed.any && site == FAULT_SYS_UNLINK)
		return false;
	if (armed.any && (site == FAULT_SPACE || site == FAULT_SYS_SPACE))
		return false;
	return armed.any ? system == (armed.site >= FAULT_SYS_PREADV)
	                 : site == armed.site;
}

const struct fault *fault_at(enum fault_site site)
{
	uint64_t burst = armed.burst == 0 ? 1 : armed.burst;
	uint64_t number;

	if (!is_inside || fail_at == 0 || !concerns(site))
		return NULL;
	number = ++visits;
	if (number < fail_at || (!armed.sticky && number - fail_at >= burst))
		return NULL;
	made++;
	return &armed;
}

void fault_note_fsync(void)
{
	fsyncs++;
}

uint64_t faults_fsyncs(void)
{
	return fsyncs;
}

size_t fault_half(uint64_t offset, size_t len)
{
	uint64_t middle = offset + len / 2;

	middle -= middle % SECTOR;
	return middle > offset ? (size_t)(middle - offset) : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * fault_points.h - everything that can be made to fail, counted in one place
 *
 * A fault names a site, such as "a write of the application's storage" or "the
 * system call fdatasync", and what happens there.  The n-th visit of the site
 * fails, and with sticky all that follow.  Visits count only while the library is
 * being called by the test.
 */
#ifndef QCF_FAULT_POINTS_H
#define QCF_FAULT_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_site {
	/* An allocation of memory. */
	FAULT_MEMORY,
	/* Functions of an application's storage. */
	FAULT_READ,
	FAULT_WRITE,
	FAULT_FLUSH,
	FAULT_SIZE,
	FAULT_TRUNCATE,
	FAULT_ZERO,
	FAULT_DISCARD,
	FAULT_ALLOCATE,
	FAULT_EXTENT,
	/* Space for what is behind the end: a write, zeros, a reservation. */
	FAULT_SPACE,
	/* System calls of the library's own storage. */
	FAULT_SYS_PREADV,
	FAULT_SYS_PWRITEV,
	FAULT_SYS_FDATASYNC,
	FAULT_SYS_FSYNC,
	FAULT_SYS_FTRUNCATE,
	FAULT_SYS_FALLOCATE,
	FAULT_SYS_LSEEK,
	FAULT_SYS_FSTAT,
	FAULT_SYS_OPEN,
	FAULT_SYS_FCNTL,
	FAULT_SYS_COPY,
	FAULT_SYS_WRITE,
	FAULT_SYS_UNLINK,
	FAULT_SYS_SPACE,
	FAULT_SITES
};

/* "memory", "read" and so on. */
const char *fault_site_name(enum fault_site site);

struct fault {
	enum fault_site site;
	int error;   /* positive errno value; 0: none, see half */
	bool half;   /* the first part of a transfer is done */
	bool sticky; /* all later visits fail, too */
	/* So many visits fail, one after the other; 0 is 1. */
	uint32_t burst;
	/* Not only this site: everything of storage, or all system calls, but
	 * for space. */
	bool any;
	/* It makes no difference: calls succeed all the same. */
	bool invisible;
};

/* Let the n-th visit from now on fail; disarmed none does. */
void faults_arm(const struct fault *fault, uint64_t nth);
void faults_disarm(void);

/* How many visits failed since, and how often the site was visited. */
uint64_t faults_made(void);
uint64_t faults_visits(void);

/* The library is being called, or has returned. */
void faults_inside(bool inside);

/*
 * Called at a site.  NULL: nothing happens; otherwise what does.
 */
const struct fault *fault_at(enum fault_site site);

/* Directories that were made stable, which nobody sees. */
void fault_note_fsync(void);
uint64_t faults_fsyncs(void);

/* How much of len bytes at offset the first part is: whole sectors. */
size_t fault_half(uint64_t offset, size_t len);

#endif

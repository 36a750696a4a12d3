/* SPDX-License-Identifier: MIT */
/*
 * tool_util.h - cleanup at the end of a scope, and small macros
 *
 * The programs include nothing of the library but qcowfmt.h, so these few
 * helpers are their own.
 */
#ifndef QCF_TOOL_UTIL_H
#define QCF_TOOL_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "qcowfmt.h"

#define QCF_CLEANUP(fn)       __attribute__((cleanup(fn)))
#define QCF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define QCF_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)

static inline void qcf_cleanup_memory(void *variable)
{
	free(*(void **)variable);
}

static inline void qcf_cleanup_error(struct qcowfmt_error **error)
{
	qcowfmt_error_free(*error);
}

/* For images opened read-only: nothing can be lost when closing fails. */
static inline void qcf_cleanup_image(struct qcowfmt_image **image)
{
	(void)qcowfmt_close(*image, NULL);
}

static inline void qcf_cleanup_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#define QCF_AUTO_FREE  QCF_CLEANUP(qcf_cleanup_memory)
#define QCF_AUTO_ERROR QCF_CLEANUP(qcf_cleanup_error)
#define QCF_AUTO_IMAGE QCF_CLEANUP(qcf_cleanup_image)
#define QCF_AUTO_FD    QCF_CLEANUP(qcf_cleanup_fd)

/* open(), also if a signal comes in between. */
static inline int qcf_open_fd(const char *path, int flags)
{
	int fd;

	do {
		fd = open(path, flags, 0644);
	} while (fd < 0 && errno == EINTR);
	return fd;
}

/* The same for ftruncate() and fallocate(). */
static inline int qcf_truncate_fd(int fd, off_t size)
{
	int ret;

	do {
		ret = ftruncate(fd, size);
	} while (ret < 0 && errno == EINTR);
	return ret;
}

static inline int qcf_allocate_fd(int fd, int mode, off_t offset, off_t len)
{
	int ret;

	do {
		ret = fallocate(fd, mode, offset, len);
	} while (ret < 0 && errno == EINTR);
	return ret;
}

static inline uint64_t qcf_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t qcf_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Rounding to any unit but 0.  Up must not pass 2^64: check before. */
static inline uint64_t qcf_round_down(uint64_t value, uint64_t unit)
{
	return value - value % unit;
}

static inline uint64_t qcf_round_up(uint64_t value, uint64_t unit)
{
	return qcf_round_down(value + (unit - 1), unit);
}

#endif

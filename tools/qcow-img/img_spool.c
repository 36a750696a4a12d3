/* SPDX-License-Identifier: MIT */
/* img_spool.c - an image on standard input */
#include "img_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "img_zero.h"
#include "tool_error.h"

#define BUFFER_SIZE (256 * KIB)

/* Files have no smaller holes. */
#define BLOCK_SIZE 4096

bool qcf_is_pipe_name(const char *name)
{
	return strcmp(name, "-") == 0;
}

static int open_temporary(void)
{
	const char *directory = getenv("TMPDIR");
	QCF_AUTO_FREE char *name = NULL;
	int fd;

	if (directory == NULL || *directory == '\0')
		directory = "/tmp";
	do {
		fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	} while (fd < 0 && errno == EINTR);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR &&
	                errno != ENOENT && errno != EINVAL))
		return fd;
	/* A file system, or a kernel, without nameless files. */
	name = qcf_tool_printf("%s/qcow-img-XXXXXX", directory);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(name);
	return fd;
}

/* As much as the buffer takes, unless the input ends. */
static ssize_t fill(char *buffer)
{
	size_t len = 0;

	while (len < BUFFER_SIZE) {
		ssize_t got =
			read(STDIN_FILENO, buffer + len, BUFFER_SIZE - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		len += (size_t)got;
	}
	return (ssize_t)len;
}

static bool put(int fd, const char *buffer, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t put = pwrite(fd, buffer, len, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return false;
		buffer += put;
		len -= (size_t)put;
		offset += (size_t)put;
	}
	return true;
}

static bool put_without_zeros(int fd, const char *buffer, size_t len,
                              uint64_t offset)
{
	size_t at;

	for (at = 0; at < len; at += BLOCK_SIZE) {
		size_t part = (size_t)qcf_min(BLOCK_SIZE, len - at);

		if (!qcf_is_zero(buffer + at, part) &&
		    !put(fd, buffer + at, part, offset + at))
			return false;
	}
	return true;
}

/* Copy standard input behind its first bytes; false with errno set. */
static bool copy_input(int fd, const char *head, size_t head_len)
{
	QCF_AUTO_FREE char *buffer = qcf_tool_alloc(BUFFER_SIZE);
	uint64_t offset = head_len;
	ssize_t len;

	if (!put_without_zeros(fd, head, head_len, 0))
		return false;
	while ((len = fill(buffer)) > 0) {
		if (!put_without_zeros(fd, buffer, (size_t)len, offset))
			return false;
		offset += (size_t)len;
	}
	return len == 0 && qcf_truncate_fd(fd, (off_t)offset) == 0;
}

bool qcf_input_is_file(void)
{
	struct stat st;

	return fstat(STDIN_FILENO, &st) == 0 &&
	       (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
	       lseek(STDIN_FILENO, 0, SEEK_CUR) == 0;
}

bool qcf_input_claim(void)
{
	static bool is_used;

	bool is_free = !is_used;

	if (!is_free)
		qcf_tool_error("Standard input can be read only once");
	is_used = true;
	return is_free;
}

char *qcf_spool_input(const char *head, size_t head_len)
{
	int fd = STDIN_FILENO;

	if (head_len > 0 || !qcf_input_is_file()) {
		fd = open_temporary();
		if (fd < 0 || !copy_input(fd, head, head_len)) {
			qcf_tool_error("Could not keep standard input in a "
			               "temporary file: %s",
			               strerror(errno));
			return NULL;
		}
	}
	return qcf_tool_printf("/proc/self/fd/%d", fd);
}

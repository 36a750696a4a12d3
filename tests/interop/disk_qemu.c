/* SPDX-License-Identifier: MIT */
/*
 * disk_qemu.c - qemu-io in the library's place
 *
 * A test that fails with this disk is wrong, whatever the library does.
 * Commands go to a qemu-io that keeps running; its prompt says that it is done
 * with one.  Data to be written goes through a pattern file, data that was read
 * comes back as a hex dump.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk.h"
#include "run.h"

#define PROMPT "qemu-io> "

extern char **environ;

struct qemu_disk {
	struct qcf_disk disk;
	char path[QCF_PATH_SIZE];
	struct qcf_qemu_image image;
	char pattern_path[QCF_PATH_SIZE + 16];
	bool ignore_discard;
	pid_t pid;   /* 0 when closed */
	int command; /* write end, -1 when closed */
	int answer;  /* read end, -1 when closed */
	char *text;  /* what the last command printed */
	size_t used;
	size_t size;
};

static struct qemu_disk *from_disk(struct qcf_disk *disk)
{
	return (struct qemu_disk *)(void *)disk;
}

/* posix_spawn() promises not to change the strings it takes as "char *". */
static char *unconst(const char *text)
{
	union {
		const char *in;
		char *out;
	} pun = { .in = text };

	return pun.out;
}

static int spawn(struct qemu_disk *q, int stdin_fd, int stdout_fd)
{
	const char *words[QCF_RUN_MAX_ARGS] = { "qemu-io", "-d" };
	char *argv[QCF_RUN_MAX_ARGS];
	posix_spawn_file_actions_t actions;
	int count = 2;
	int ret;
	int i;

	words[count++] = q->ignore_discard ? "ignore" : "unmap";
	count = qcf_qemu_image_options(&q->image, words, count);
	words[count++] = q->image.spec;
	for (i = 0; i < count; i++)
		argv[i] = unconst(words[i]);
	argv[count] = NULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, stdin_fd, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDERR_FILENO);
	ret = posix_spawnp(&q->pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return ret;
}

static void reserve(struct qemu_disk *q, size_t more)
{
	char *text;

	if (q->size - q->used > more)
		return;
	q->size = (q->used + more + 1) * 2;
	text = realloc(q->text, q->size);
	if (!text)
		abort();
	q->text = text;
}

/* Read up to the next prompt, or to the end of the output. */
static void read_answer(struct qemu_disk *q)
{
	const size_t prompt_len = strlen(PROMPT);
	ssize_t got;

	q->used = 0;
	do {
		reserve(q, 65536);
		got = read(q->answer, q->text + q->used, 65536);
		if (got > 0)
			q->used += (size_t)got;
		q->text[q->used] = '\0';
		if (q->used >= prompt_len &&
		    strcmp(q->text + q->used - prompt_len, PROMPT) == 0)
			return;
	} while (got > 0 || (got < 0 && errno == EINTR));
}

static bool send_text(struct qemu_disk *q, const char *text)
{
	size_t len = strlen(text);

	return write(q->command, text, len) == (ssize_t)len;
}

static bool command(struct qemu_disk *q, struct qcf_finding *finding,
                    const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool command(struct qemu_disk *q, struct qcf_finding *finding,
                    const char *format, ...)
{
	char line[QCF_PATH_SIZE + 128];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (!send_text(q, line) || !send_text(q, "\n"))
		return qcf_found(finding, QCF_FOUND_HARNESS, "qemu-io is gone");
	read_answer(q);
	if (q->text[0] != '0' && /* a dump, which may contain any word */
	    (strstr(q->text, "failed") || strstr(q->text, "rror")))
		return qcf_found(finding, QCF_FOUND_ERROR, "%s: %.200s", line,
		                 q->text);
	return true;
}

static bool qemu_open(struct qcf_disk *disk, struct qcf_finding *finding)
{
	struct qemu_disk *q = from_disk(disk);
	int in[2];
	int out[2];
	int ret;

	signal(SIGPIPE, SIG_IGN);
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		return qcf_found(finding, QCF_FOUND_HARNESS, "pipe failed");
	ret = spawn(q, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	q->command = in[1];
	q->answer = out[0];
	if (ret != 0)
		return qcf_found(finding, QCF_FOUND_HARNESS, "qemu-io: %s",
		                 strerror(ret));
	read_answer(q);
	if (strcmp(q->text, PROMPT) != 0)
		return qcf_found(finding, QCF_FOUND_ERROR, "qemu-io: %.200s",
		                 q->text);
	return true;
}

static int end_session(struct qemu_disk *q)
{
	int status = 0;

	if (q->pid <= 0)
		return 0;
	close(q->command);
	close(q->answer);
	while (waitpid(q->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	q->pid = 0;
	return status;
}

static bool qemu_close(struct qcf_disk *disk, struct qcf_finding *finding)
{
	struct qemu_disk *q = from_disk(disk);
	int status;

	send_text(q, "quit\n");
	read_answer(q);
	status = end_session(q);
	if (status != 0)
		return qcf_found(finding, QCF_FOUND_ERROR,
		                 "qemu-io ends with status 0x%x",
		                 (unsigned int)status);
	return true;
}

static int digit(char c)
{
	const char digits[] = "0123456789abcdef";
	const char *found = c ? strchr(digits, c) : NULL;

	return found ? (int)(found - digits) : -1;
}

/* Up to 16 bytes as " xx xx ..."; returns how many there are. */
static size_t parse_line(const char *text, uint8_t *out, size_t max)
{
	size_t i;

	for (i = 0; i < 16 && i < max; i++) {
		const char *p = text + 3 * i + 1;

		if (digit(p[0]) < 0 || digit(p[1]) < 0)
			break;
		out[i] = (uint8_t)(digit(p[0]) * 16 + digit(p[1]));
	}
	return i;
}

/* Lines of "offset:  xx xx ...  text". */
static size_t parse_dump(const char *text, uint8_t *out, size_t len)
{
	const char *line = text;
	const char *colon;
	size_t done = 0;

	while (line && done < len) {
		colon = strchr(line, ':');
		if (!colon)
			break;
		done += parse_line(colon + 2, out + done, len - done);
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return done;
}

static bool qemu_read(struct qcf_disk *disk, void *buffer, size_t len,
                      uint64_t offset, struct qcf_finding *finding)
{
	struct qemu_disk *q = from_disk(disk);

	if (!command(q, finding, "read -v %" PRIu64 " %zu", offset, len))
		return false;
	if (parse_dump(q->text, buffer, len) != len)
		return qcf_found(finding, QCF_FOUND_HARNESS,
		                 "cannot parse qemu-io's dump");
	return true;
}

static bool write_pattern(struct qemu_disk *q, const void *buffer, size_t len,
                          struct qcf_finding *finding)
{
	FILE *file = fopen(q->pattern_path, "w");
	bool good;

	if (!file)
		return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s",
		                 q->pattern_path, strerror(errno));
	good = fwrite(buffer, 1, len, file) == len;
	if (fclose(file) != 0 || !good)
		return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s",
		                 q->pattern_path, strerror(errno));
	return true;
}

static bool qemu_write(struct qcf_disk *disk, const void *buffer, size_t len,
                       uint64_t offset, struct qcf_finding *finding)
{
	struct qemu_disk *q = from_disk(disk);

	return write_pattern(q, buffer, len, finding) &&
	       command(q, finding, "write -q -s %s %" PRIu64 " %zu",
	               q->pattern_path, offset, len);
}

static bool qemu_zero(struct qcf_disk *disk, uint64_t offset, uint64_t len,
                      bool may_unmap, struct qcf_finding *finding)
{
	return command(from_disk(disk), finding,
	               "write -q -z%s %" PRIu64 " %" PRIu64,
	               may_unmap ? " -u" : "", offset, len);
}

static bool qemu_discard(struct qcf_disk *disk, uint64_t offset, uint64_t len,
                         struct qcf_finding *finding)
{
	return command(from_disk(disk), finding,
	               "discard -q %" PRIu64 " %" PRIu64, offset, len);
}

static bool qemu_flush(struct qcf_disk *disk, struct qcf_finding *finding)
{
	return command(from_disk(disk), finding, "flush");
}

static void qemu_free(struct qcf_disk *disk)
{
	struct qemu_disk *q = from_disk(disk);

	end_session(q);
	unlink(q->pattern_path);
	free(q->text);
	free(q);
}

static const struct qcf_disk_verbs qemu_verbs = {
	.open = qemu_open,
	.close = qemu_close,
	.read = qemu_read,
	.write = qemu_write,
	.zero = qemu_zero,
	.discard = qemu_discard,
	.flush = qemu_flush,
	.free = qemu_free,
};

struct qcf_disk *qcf_disk_qemu_new(const struct qcf_disk_options *options)
{
	struct qemu_disk *q = calloc(1, sizeof(*q));

	if (!q)
		abort();
	q->disk.verbs = &qemu_verbs;
	q->ignore_discard = options->discard_mode == QCOWFMT_DISCARD_IGNORE;
	snprintf(q->path, sizeof(q->path), "%s", options->path);
	if (options->qemu_image)
		q->image = *options->qemu_image;
	else
		qcf_qemu_image_init(&q->image, "qcow2", q->path);
	snprintf(q->pattern_path, sizeof(q->pattern_path), "%s.pattern",
	         q->path);
	return &q->disk;
}

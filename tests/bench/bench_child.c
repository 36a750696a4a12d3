/* SPDX-License-Identifier: MIT */
/*
 * bench_child.c - run a command and say what it took
 *
 *   bench_child FD COMMAND [ARGUMENT...]
 *
 * Writes a line to the descriptor FD, which the command does not get: seconds,
 * processor seconds of all its threads, its peak of resident memory in KiB, and its
 * exit status.
 *
 * It is a program of its own because a process is said to have had at least the
 * memory of the one that started it: this one is small, an interpreter is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static void die(const char *what, int error)
{
	fprintf(stderr, "bench_child: %s: %s\n", what, strerror(error));
	exit(125);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* As a shell says it. */
static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	struct rusage usage;
	double start;
	pid_t child;
	int status;
	int error;
	int fd;

	if (argc < 3)
		die("usage: bench_child FD COMMAND [ARGUMENT...]", EINVAL);
	fd = atoi(argv[1]);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		die(argv[1], errno);
	start = now();
	error = posix_spawnp(&child, argv[2], NULL, NULL, argv + 2, environ);
	if (error != 0)
		die(argv[2], error);
	while (wait4(child, &status, 0, &usage) < 0)
		if (errno != EINTR)
			die("wait4", errno);
	if (dprintf(fd, "%.6f %.6f %ld %d\n", now() - start,
	            seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime),
	            usage.ru_maxrss, exit_status(status)) < 0)
		die("writing", errno);
	return 0;
}

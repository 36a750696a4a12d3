/* SPDX-License-Identifier: MIT */
/* run.c - run another program and see what it says */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* posix_spawn() promises not to change the strings it takes as "char *". */
static char *unconst(const char *text)
{
	union {
		const char *in;
		char *out;
	} pun = { .in = text };

	return pun.out;
}

static int spawn(const char *const argv[], const char *stdin_path,
                 int output_fd, pid_t *pid)
{
	char *args[QCF_RUN_MAX_ARGS + 1] = { NULL };
	posix_spawn_file_actions_t actions;
	int ret;
	int i;

	for (i = 0; argv[i] && i < QCF_RUN_MAX_ARGS; i++)
		args[i] = unconst(argv[i]);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO,
	                                 stdin_path ? stdin_path : "/dev/null",
	                                 O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, output_fd, STDERR_FILENO);
	ret = posix_spawnp(pid, args[0], &actions, NULL, args, environ);
	posix_spawn_file_actions_destroy(&actions);
	return ret;
}

/* Keep the first bytes, read the rest so that the program never blocks. */
static void collect(int fd, char *output, size_t size)
{
	char surplus[1024];
	size_t used = 0;
	ssize_t got;

	do {
		if (used < size - 1)
			got = read(fd, output + used, size - 1 - used);
		else
			got = read(fd, surplus, sizeof(surplus));
		if (got > 0 && used < size - 1)
			used += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	output[used] = '\0';
}

static int wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

bool qcf_run(const char *const argv[], const char *stdin_path,
             struct qcf_run *run, struct qcf_finding *finding)
{
	int fds[2];
	pid_t pid;
	int ret;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return qcf_found(finding, QCF_FOUND_HARNESS, "pipe: %s",
		                 strerror(errno));
	ret = spawn(argv, stdin_path, fds[1], &pid);
	close(fds[1]);
	if (ret == 0) {
		collect(fds[0], run->output, sizeof(run->output));
		run->status = wait_for(pid);
	}
	close(fds[0]);
	if (ret != 0)
		return qcf_found(finding, QCF_FOUND_HARNESS, "running %s: %s",
		                 argv[0], strerror(ret));
	return true;
}

static void join(const char *const argv[], char *out, size_t size)
{
	size_t used = 0;
	int i;

	out[0] = '\0';
	for (i = 0; argv[i] && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s%s",
		                         i ? " " : "", argv[i]);
}

#define PROMPT "qemu-io> "

/* Whether there is anything but prompts. */
static bool says_something(const char *output)
{
	while (strncmp(output, PROMPT, strlen(PROMPT)) == 0)
		output += strlen(PROMPT);
	return output[strspn(output, " \n")] != '\0';
}

/* QEMU measures how long deriving a key takes, and gives up if the clock has not
 * moved, as it may on a busy machine. */
static bool lacks_time(const struct qcf_run *run)
{
	return run->status != 0 &&
	       strstr(run->output, "Unable to get accurate CPU usage") != NULL;
}

static bool run_well(const char *const argv[], const char *stdin_path,
                     bool silent, enum qcf_finding_kind kind,
                     struct qcf_finding *finding)
{
	struct qcf_run run;
	char command[512];
	unsigned int attempt = 0;

	do {
		usleep(attempt * 100000);
		if (!qcf_run(argv, stdin_path, &run, finding))
			return false;
	} while (lacks_time(&run) && ++attempt < 10);
	if (run.status == 0 && (!silent || !says_something(run.output)))
		return true;
	join(argv, command, sizeof(command));
	return qcf_found(finding, kind, "'%s' exits with %d: %.1200s", command,
	                 run.status, run.output);
}

bool qcf_run_ok(const char *const argv[], const char *stdin_path,
                enum qcf_finding_kind kind, struct qcf_finding *finding)
{
	return run_well(argv, stdin_path, false, kind, finding);
}

bool qcf_run_silent(const char *const argv[], const char *stdin_path,
                    enum qcf_finding_kind kind, struct qcf_finding *finding)
{
	return run_well(argv, stdin_path, true, kind, finding);
}

bool qcf_program_exists(const char *program)
{
	const char *const argv[] = { program, "--version", NULL };
	struct qcf_finding finding;
	struct qcf_run run;

	if (qcf_run(argv, NULL, &run, &finding) && run.status == 0)
		return true;
	printf("SKIP: %s is not installed\n", program);
	return false;
}

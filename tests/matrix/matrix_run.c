/* SPDX-License-Identifier: MIT */
/* matrix_run.c - many games, each in a process of its own */
#include "matrix_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds that one game may take, under a sanitizer on a busy machine. */
#define PATIENCE 120u

uint64_t qcf_matrix_seed(void)
{
	const char *text = getenv("QCF_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 1;
}

bool qcf_matrix_is_long(void)
{
	return qcf_long_factor() > 1;
}

static void play_in_child(const struct qcf_game *game)
{
	struct qcf_finding finding = { 0 };

	alarm(PATIENCE);
	if (qcf_game_play(game, &finding))
		exit(EXIT_SUCCESS);
	fprintf(stderr, "%s\n", finding.text);
	exit(EXIT_FAILURE);
}

static void report(const struct qcf_game *game, const char *program, int status)
{
	char text[QCF_SPEC_SIZE];

	if (WIFSIGNALED(status))
		fprintf(stderr, "ended by signal %d (%s)\n", WTERMSIG(status),
		        strsignal(WTERMSIG(status)));
	qcf_spec_print(&game->spec, text);
	fprintf(stderr,
	        "FAILED, created by %s; repeat with\n"
	        "QCF_TEST_SEED=%" PRIu64 " %s %s\n\n",
	        game->creator == QCF_SIDE_QEMU ? "qemu" : "the library",
	        qcf_matrix_seed(), program, text);
	fflush(stderr);
}

/* Children must not inherit what is buffered, nor the backing file to make. */
static bool prepare(const struct qcf_game *game)
{
	const struct qcf_traits traits = qcf_spec_traits(&game->spec);
	const struct qcf_backing *backing;
	struct qcf_finding finding = { 0 };

	fflush(stdout);
	fflush(stderr);
	if (qcf_backing_get(&traits, 0, &backing, &finding))
		return true;
	fprintf(stderr, "%s\n", finding.text);
	return false;
}

bool qcf_matrix_run(const struct qcf_game *game, const char *program)
{
	int status = 0;
	pid_t pid;

	if (!prepare(game))
		return false;
	pid = fork();
	if (pid == 0)
		play_in_child(game);
	if (pid < 0) {
		perror("fork");
		return false;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (status == 0)
		return true;
	report(game, program, status);
	return false;
}

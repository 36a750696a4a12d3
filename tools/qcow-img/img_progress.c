/* SPDX-License-Identifier: MIT */
/* img_progress.c - how far a long command has come */
#include "img_progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* A new percentage is printed when it has grown by this much. */
#define STEP 1.0

static volatile sig_atomic_t is_asked;

static void note_question(int signal_number)
{
	(void)signal_number;
	is_asked = 1;
}

static double percentage(const struct img_progress *progress)
{
	if (progress->total == 0)
		return 0;
	return (double)qcf_min(progress->done, progress->total) * 100.0 /
	       (double)progress->total;
}

static void show(struct img_progress *progress, double percent)
{
	if (!progress->is_shown)
		return;
	printf("    (%3.2f/100%%)\r", percent);
	(void)fflush(stdout);
	progress->shown = percent;
}

void qcf_progress_begin(struct img_progress *progress, bool is_shown,
                        uint64_t total)
{
	struct sigaction action = { .sa_handler = note_question,
		                    .sa_flags = SA_RESTART };

	*progress =
		(struct img_progress){ .is_shown = is_shown, .total = total };
	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGUSR1, &action, NULL);
	show(progress, 0);
}

void qcf_progress_add(struct img_progress *progress, uint64_t amount)
{
	double percent;

	progress->done += amount;
	percent = percentage(progress);
	if (percent >= progress->shown + STEP)
		show(progress, percent);
	if (is_asked) {
		is_asked = 0;
		fprintf(stderr, "    (%3.2f/100%%)\n", percent);
	}
}

void qcf_progress_end(struct img_progress *progress, bool success)
{
	if (!progress->is_shown)
		return;
	if (success)
		show(progress, 100);
	putchar('\n');
}

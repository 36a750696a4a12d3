/* SPDX-License-Identifier: MIT */
/* img_progress.c - how far a long command has come */
#include "img_progress.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "tool_error.h"

/* Of the bar on a terminal. */
#define BAR_WIDTH 40

static volatile sig_atomic_t is_asked;

static void note_question(int signal_number)
{
	(void)signal_number;
	is_asked = 1;
}

bool qcf_progress_parse(const char *format, int *mode)
{
	*mode = IMG_PROGRESS_LINE;
	if (format == NULL || strcmp(format, "human") == 0)
		return true;
	*mode = IMG_PROGRESS_JSON;
	if (strcmp(format, "json") == 0)
		return true;
	qcf_tool_error("--progress must be used with human or json as "
	               "argument.");
	return false;
}

static double percentage(const struct img_progress *progress)
{
	if (progress->total == 0)
		return 0;
	return (double)qcf_min(progress->done, progress->total) * 100.0 /
	       (double)progress->total;
}

static void show_bar(const struct img_progress *progress, double percent)
{
	int full = (int)(percent * BAR_WIDTH / 100);
	char bar[BAR_WIDTH + 1];

	memset(bar, ' ', BAR_WIDTH);
	memset(bar, '#', (size_t)full);
	bar[BAR_WIDTH] = '\0';
	fprintf(progress->out, "    [%s] (%3.2f/100%%)\r", bar, percent);
}

static void show_json(const struct img_progress *progress, double percent,
                      const char *more)
{
	fprintf(progress->out,
	        "{\"done\": %" PRIu64 ", \"total\": %" PRIu64
	        ", \"percent\": %.2f%s}\n",
	        progress->done, progress->total, percent, more);
}

static void show(struct img_progress *progress, double percent)
{
	if (progress->mode == IMG_PROGRESS_NONE)
		return;
	if (progress->mode == IMG_PROGRESS_JSON)
		show_json(progress, percent, "");
	else if (progress->bar)
		show_bar(progress, percent);
	else
		fprintf(progress->out, "    (%3.2f/100%%)\r", percent);
	(void)fflush(progress->out);
	progress->shown = percent;
}

static bool has_begun;

void qcf_progress_begin_on(struct img_progress *progress, int mode,
                           uint64_t total, FILE *out)
{
	struct sigaction action = { .sa_handler = note_question,
		                    .sa_flags = SA_RESTART };

	has_begun = true;
	*progress = (struct img_progress){
		.mode = mode,
		.total = total,
		.out = out,
		.step = 1,
		.bar = mode == IMG_PROGRESS_LINE && isatty(fileno(out)),
	};
	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGUSR1, &action, NULL);
	show(progress, 0);
}

void qcf_progress_begin(struct img_progress *progress, int mode, uint64_t total)
{
	qcf_progress_begin_on(progress, mode, total, stdout);
}

static void report(struct img_progress *progress)
{
	double percent = percentage(progress);

	if (percent >= progress->shown + progress->step)
		show(progress, percent);
	if (is_asked) {
		is_asked = 0;
		fprintf(stderr, "    (%3.2f/100%%)\n", percent);
	}
}

void qcf_progress_add(struct img_progress *progress, uint64_t amount)
{
	progress->done += amount;
	report(progress);
}

int qcf_progress_callback(void *opaque, uint64_t done, uint64_t total)
{
	struct img_progress *progress = opaque;

	progress->done = done;
	progress->total = total;
	report(progress);
	return 0;
}

void qcf_progress_end(struct img_progress *progress, bool success)
{
	if (progress->mode == IMG_PROGRESS_NONE)
		return;
	if (progress->mode == IMG_PROGRESS_JSON) {
		if (success)
			progress->done = progress->total;
		show_json(progress, success ? 100 : percentage(progress),
		          success ? ", \"finished\": true"
		                  : ", \"finished\": false");
		(void)fflush(progress->out);
		return;
	}
	if (success)
		show(progress, 100);
	putc('\n', progress->out);
	(void)fflush(progress->out);
}

void qcf_progress_fail(int mode)
{
	struct img_progress progress;

	if (has_begun)
		return;
	qcf_progress_begin(&progress, mode, 1);
	qcf_progress_end(&progress, false);
}

/* SPDX-License-Identifier: MIT */
/*
 * fuzz_io_commands.c - target: command lines of qcow-io
 *
 * Input: lines, run one after the other on an image in memory.  Left out are
 * commands that end the program, wait, or open files, and lengths for which the
 * program would ask for a great deal of memory, as it is told.
 */
#include "fuzz_input.h"
#include "io_aio.h"
#include "io_command.h"
#include "tool_size.h"

#define MAX_LINES 16

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_bases_make();
	fuzz_be_quiet();
	return 0;
}

static bool is_forbidden_command(const char *word)
{
	static const char *const words[] = { "abort",    "sigraise", "sleep",
		                             "open",     "o",        "reopen",
		                             "truncate", "t" };

	for (size_t i = 0; i < QCF_ARRAY_LEN(words); i++) {
		if (strcmp(word, words[i]) == 0)
			return true;
	}
	return false;
}

/* A source file, or so many bytes. */
static bool is_forbidden_word(const char *word)
{
	uint64_t size;

	return (word[0] == '-' && strchr(word, 's') != NULL) ||
	       (qcf_parse_size(word, &size) == 0 && size > FUZZ_DISK_ROOM);
}

static bool is_allowed(const char *line)
{
	char *copy = fuzz_need(strdup(line));
	char *rest = copy;
	bool first = true;
	bool allowed = true;
	char *word;

	while (allowed && (word = strsep(&rest, " \n")) != NULL) {
		if (*word == '\0')
			continue;
		allowed = !(first && is_forbidden_command(word)) &&
		          !is_forbidden_word(word);
		first = false;
	}
	free(copy);
	return allowed;
}

static void begin(struct io_session *session, struct fuzz_image *fi)
{
	*session = (struct io_session){ .overlay_fd = -1 };
	FUZZ_ASSERT(fuzz_open(fi, QCOWFMT_OPEN_READ_WRITE, NULL,
	                      &session->image) == 0,
	            "open");
	session->path = fuzz_need(strdup("image"));
	session->format = fuzz_need(strdup("qcow2"));
	session->settings.path = session->path;
	session->settings.format = session->format;
	session->size = qcowfmt_get_size(session->image);
	session->cluster_size = fi->base->kind->cluster_size;
}

static void run_lines(struct io_session *session, char *text)
{
	char *rest = text;
	char *line;

	for (int i = 0; i < MAX_LINES && !session->has_quit &&
	                (line = strsep(&rest, "\n")) != NULL;
	     i++) {
		if (is_allowed(line))
			(void)qcf_io_run_line(session, line);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_image fi;
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_image *image;
	struct io_session session;
	char *text;

	if (size == 0)
		return 0;
	text = fuzz_text(data + 1, size - 1);
	fuzz_image_reset(&fi, fuzz_base(data[0]));
	begin(&session, &fi);
	run_lines(&session, text);
	qcf_io_aio_drain(&session);
	if (session.image != NULL)
		FUZZ_ASSERT(qcf_io_close(&session), "close");
	FUZZ_ASSERT(fuzz_open(&fi, 0, NULL, &image) == 0, "open again");
	FUZZ_ASSERT(qcowfmt_check(image, 0, NULL, NULL, &r, NULL) == 0 &&
	                    r.corruptions == 0,
	            "%" PRIu64 " corruptions", r.corruptions);
	fuzz_close(image);
	free(text);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* img_convert_source.c - the disk that "convert" reads */
#include "img_convert_source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "img_spool.h"
#include "tool_error.h"

/* ----------------------------------------------------------- standard input */

static bool is_raw_pipe(struct img_source *source,
                        const struct qcf_tool_open *request)
{
	if (request->format != NULL)
		return strcmp(request->format, "raw") == 0;
	/* What cannot be read will fail again. */
	return qcf_pipe_is_raw(&source->pipe) != 0;
}

/* Open the image in a pipe if it can be used as it comes.  If not, what is the
 * matter will show in the temporary file. */
static bool open_moving(struct img_source *source, struct qcf_tool_open *open,
                        struct qcowfmt_image **handle)
{
	QCF_AUTO_FREE char *reason = NULL;
	bool ok;

	if (qcf_pipe_storage(&source->pipe, &open->storage, NULL) < 0)
		return false;
	open->path = "/proc/self/fd/0";
	ok = qcf_tool_open(open, handle, &reason) == 0;
	open->storage = NULL;
	if (!ok)
		return false;
	source->is_moving = qcf_pipe_try_moving(&source->pipe, *handle);
	if (!source->is_moving) {
		(void)qcowfmt_close(*handle, NULL);
		*handle = NULL;
	}
	return source->is_moving;
}

/*
 * Find out how to read standard input: as it comes, which sets is_input or
 * is_moving, or else by a path.  False with a message.
 */
static bool take_standard_input(struct img_source *source,
                                struct qcf_tool_open *open,
                                struct qcowfmt_image **handle)
{
	struct img_pipe *pipe = &source->pipe;

	if (!qcf_input_claim())
		return false;
	qcf_pipe_init(pipe);
	source->has_pipe = true;
	if (!qcf_input_is_file() && source->may_take &&
	    is_raw_pipe(source, open)) {
		source->is_input = true;
		return true;
	}
	if (!qcf_input_is_file() && source->may_move &&
	    !is_raw_pipe(source, open) && open_moving(source, open, handle))
		return true;
	source->spooled = qcf_spool_input(pipe->head, pipe->head_len);
	open->path = source->spooled;
	return source->spooled != NULL;
}

/* -------------------------------------------------------------------- images */

static bool open_named(struct qcf_tool_open *open, struct qcf_image_opts *opts,
                       bool image_opts, const char *argument, const char *name,
                       struct qcowfmt_image **handle)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (!qcf_tool_take_image(open, opts, image_opts, argument))
		return false;
	if (qcf_tool_open(open, handle, &reason) == 0)
		return true;
	qcf_tool_error("Could not open '%s': %s", name, reason);
	return false;
}

static bool open_image(struct img_source *source,
                       const struct qcf_tool_open *request, bool image_opts,
                       const char *name)
{
	struct qcowfmt_image **handle = &source->handles[source->count];
	struct qcf_image_opts *opts = &source->opts[source->count];
	struct qcf_tool_open *open = &source->requests[source->count];
	uint64_t size;

	*open = *request;
	open->path = name;
	if (!image_opts && qcf_is_pipe_name(name) &&
	    !take_standard_input(source, open, handle))
		return false;
	if (source->is_input)
		return true;
	source->count++;
	if (*handle == NULL &&
	    !open_named(open, opts, image_opts, open->path, name, handle))
		return false;
	size = qcowfmt_get_size(*handle);
	if (size > INT64_MAX - source->size) {
		qcf_tool_error("The images are too large together");
		return false;
	}
	source->size += size;
	return true;
}

bool qcf_source_open(struct img_source *source,
                     const struct qcf_tool_open *request, bool image_opts,
                     char **names, size_t count)
{
	size_t i;

	source->handles = qcf_tool_alloc(count * sizeof(*source->handles));
	source->requests = qcf_tool_alloc(count * sizeof(*source->requests));
	source->opts = qcf_tool_alloc(count * sizeof(*source->opts));
	for (i = 0; i < count; i++) {
		if (!open_image(source, request, image_opts, names[i]))
			return false;
	}
	return true;
}

void qcf_source_close(struct img_source *source)
{
	size_t i;

	for (i = 0; i < source->count; i++) {
		(void)qcowfmt_close(source->handles[i], NULL);
		qcf_image_opts_fini(&source->opts[i]);
	}
	free(source->handles);
	free(source->requests);
	free(source->opts);
	free(source->spooled);
	if (source->has_pipe)
		qcf_pipe_fini(&source->pipe);
	source->count = 0;
}

static bool is_file(const char *path, const struct stat *st)
{
	struct stat used;

	return path != NULL && stat(path, &used) == 0 &&
	       used.st_dev == st->st_dev && used.st_ino == st->st_ino;
}

static bool chain_uses_file(struct qcowfmt_image *image, const struct stat *st)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	uint32_t depth;

	for (depth = 0; qcowfmt_get_info(image, depth, &info, NULL) == 0;
	     depth++) {
		if (is_file(info.filename, st) ||
		    is_file(info.data_filename, st))
			return true;
	}
	return false;
}

bool qcf_source_uses_file(const struct img_source *source, const char *path)
{
	struct stat st;
	size_t i;

	if (stat(path, &st) < 0)
		return false;
	for (i = 0; i < source->count; i++) {
		if (chain_uses_file(source->handles[i], &st) ||
		    is_file(source->opts[i].data_path, &st))
			return true;
	}
	return false;
}

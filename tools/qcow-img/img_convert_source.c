/* SPDX-License-Identifier: MIT */
/* img_convert_source.c - the disk that "convert" reads */
#include "img_convert_source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "img_spool.h"
#include "tool_error.h"

static bool open_image(struct img_source *source,
                       const struct qcf_tool_open *request, bool image_opts,
                       const char *name)
{
	struct qcowfmt_image **handle = &source->handles[source->count];
	struct qcf_image_opts *opts = &source->opts[source->count];
	struct qcf_tool_open *open = &source->requests[source->count];
	bool is_pipe = !image_opts && qcf_is_pipe_name(name);
	QCF_AUTO_FREE char *reason = NULL;
	uint64_t size;

	source->count++;
	*open = *request;
	if (is_pipe) {
		source->pipe = qcf_spool_input();
		if (source->pipe == NULL)
			return false;
	}
	if (!qcf_tool_take_image(open, opts, image_opts,
	                         is_pipe ? source->pipe : name))
		return false;
	if (qcf_tool_open(open, handle, &reason) < 0) {
		qcf_tool_error("Could not open '%s': %s", name, reason);
		return false;
	}
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
	free(source->pipe);
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

/* SPDX-License-Identifier: MIT */
/* tmpdir.c - a fresh directory for the files of one image and its chain */
#include "tmpdir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "scratch.h"

void qcf_tmpdir_new(struct qcf_tmpdir *dir)
{
	snprintf(dir->path, sizeof(dir->path), "%s",
	         scratch_path("image-XXXXXX"));
	if (!mkdtemp(dir->path)) {
		perror(dir->path);
		exit(EXIT_FAILURE);
	}
}

void qcf_tmpdir_remove(const struct qcf_tmpdir *dir)
{
	DIR *stream = opendir(dir->path);
	const struct dirent *entry;

	if (!stream)
		return;
	while ((entry = readdir(stream)) != NULL) {
		if (entry->d_type != DT_DIR)
			unlinkat(dirfd(stream), entry->d_name, 0);
	}
	closedir(stream);
	rmdir(dir->path);
}

void qcf_tmpdir_path(const struct qcf_tmpdir *dir, const char *name,
                     char out[QCF_PATH_SIZE])
{
	snprintf(out, QCF_PATH_SIZE, "%s/%s", dir->path, name);
}

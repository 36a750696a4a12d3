/* SPDX-License-Identifier: MIT */
/*
 * no_sync.c - preloaded: making things stable does nothing and succeeds
 *
 * A test that notices no difference proves nothing about power cuts.
 */
int fsync(int fd);
int fdatasync(int fd);

int fsync(int fd)
{
	(void)fd;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}

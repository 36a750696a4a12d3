/* SPDX-License-Identifier: MIT */
/*
 * Promise: a name opened beneath a directory cannot lead out of it, and names
 * that stay inside work.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage_test.h"

static void put_file(const char *name, const char *content)
{
	int fd = open(scratch_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, content, strlen(content)),
	                 (ssize_t)strlen(content));
	close(fd);
}

static void set_up(void)
{
	mkdir(scratch_path("in"), 0700);
	mkdir(scratch_path("in/sub"), 0700);
	put_file("secret", "secret");
	put_file("in/good", "good");
	put_file("in/sub/deep", "deep");
	unlink(scratch_path("in/out"));
	unlink(scratch_path("in/absolute"));
	unlink(scratch_path("in/inside"));
	unlink(scratch_path("in/outdir"));
	ck_assert_int_eq(symlink("../secret", scratch_path("in/out")), 0);
	ck_assert_int_eq(
		symlink(scratch_path("in/good"), scratch_path("in/absolute")),
		0);
	ck_assert_int_eq(symlink("sub/deep", scratch_path("in/inside")), 0);
	ck_assert_int_eq(symlink("..", scratch_path("in/outdir")), 0);
}

static void assert_content(const char *path, const char *dir,
                           const char *content, const char *name)
{
	struct qcowfmt_storage *s;
	char bytes[16] = "";

	assert_works(qcf_storage_file_open(path, dir, QCOWFMT_FILE_READ_ONLY,
	                                   &s, errp));
	assert_works(
		qcf_storage_pread_padded(s, bytes, sizeof(bytes), 0, errp));
	ck_assert_str_eq(bytes, content);
	ck_assert_str_eq(s->name, name);
	qcowfmt_storage_free(s);
}

START_TEST(names_inside)
{
	const char *dir = scratch_path("in");

	assert_content("good", dir, "good", scratch_path("in/good"));
	assert_content("sub/deep", dir, "deep", scratch_path("in/sub/deep"));
	assert_content("sub/../good", dir, "good",
	               scratch_path("in/sub/../good"));
	assert_content("inside", dir, "deep", scratch_path("in/inside"));
}

END_TEST

START_TEST(current_directory)
{
	ck_assert_int_eq(chdir(scratch_path("in")), 0);
	assert_content("good", "", "good", "good");
}

END_TEST

START_TEST(names_that_lead_out)
{
	static const char *const names[] = {
		"../secret", "sub/../../secret", "out",         "outdir/secret",
		"absolute",  "../in/good",       "/etc/passwd",
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(names); i++) {
		struct qcowfmt_storage *s = NULL;

		assert_fails(qcf_storage_file_open(names[i], scratch_path("in"),
		                                   QCOWFMT_FILE_READ_ONLY, &s,
		                                   errp),
		             EACCES, QCOWFMT_ERR_REFUSED);
		ck_assert_ptr_null(s);
	}
}

END_TEST

START_TEST(magic_links)
{
	struct qcowfmt_storage *s;

	/* /proc/self/fd/0 stays beneath /proc by name, but not in truth. */
	ck_assert_int_lt(qcf_storage_file_open("self/fd/0", "/proc",
	                                       QCOWFMT_FILE_READ_ONLY, &s,
	                                       NULL),
	                 0);
}

END_TEST

START_TEST(nothing_is_created)
{
	struct qcowfmt_storage *s;

	assert_fails(qcf_storage_file_open("new", scratch_path("in"),
	                                   QCOWFMT_FILE_CREATE, &s, errp),
	             EINVAL, QCOWFMT_ERR_USAGE);
	ck_assert_int_ne(access(scratch_path("in/new"), F_OK), 0);
}

END_TEST

START_TEST(directory_part)
{
	static const struct {
		const char *name, *directory;
	} cases[] = {
		{ "a", "" },          { "/a", "/" },  { "b/a", "b" },
		{ "/c/b/a", "/c/b" }, { "./a", "." }, { "b//a", "b/" },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(cases); i++) {
		QCF_AUTO_FREE char *name = strdup(cases[i].name);
		struct qcowfmt_storage s = { .name = name, .is_file = true };
		QCF_AUTO_FREE char *directory = qcf_storage_directory(&s);

		ck_assert_str_eq(directory, cases[i].directory);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_test(tcase, names_inside);
	tcase_add_test(tcase, current_directory);
	tcase_add_test(tcase, names_that_lead_out);
	tcase_add_test(tcase, magic_links);
	tcase_add_test(tcase, nothing_is_created);
	tcase_add_test(tcase, directory_part);
}

int main(void)
{
	return run_with_scratch("beneath_is_never_left", add);
}

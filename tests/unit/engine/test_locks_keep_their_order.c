/* SPDX-License-Identifier: MIT */
/*
 * test_locks_keep_their_order.c - a debug build aborts, with the names, when
 * locks are taken in the wrong order, or are held where they must not be
 *
 * Each rule is broken in a child process, whose last words are read.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock.h"
#include "storage.h"
#include "storage_mem.h"
#include "unit.h"

static struct qcf_mutex low;
static struct qcf_mutex high;
static struct qcf_cond cond;

static void init(enum qcf_rank low_rank, enum qcf_rank high_rank)
{
	qcf_mutex_init(&low, low_rank);
	qcf_mutex_init(&high, high_rank);
	qcf_cond_init(&cond);
}

static void take_in_order(void)
{
	init(QCF_RANK_ALLOC, QCF_RANK_CACHE);
	QCF_GUARD(&low);
	QCF_GUARD(&high);
}

static void take_out_of_order(void)
{
	init(QCF_RANK_ALLOC, QCF_RANK_CACHE);
	QCF_GUARD(&high);
	QCF_GUARD(&low);
}

static void take_same_rank(void)
{
	init(QCF_RANK_CACHE, QCF_RANK_CACHE);
	QCF_GUARD(&high);
	QCF_GUARD(&low);
}

static void drop_what_is_not_held(void)
{
	init(QCF_RANK_ALLOC, QCF_RANK_CACHE);
	qcf_mutex_unlock(&low);
}

static void read_storage(void)
{
	struct qcowfmt_storage *storage = NULL;
	char byte;

	if (qcf_storage_mem_new(0, &storage, NULL) < 0)
		_exit(2);
	if (qcf_storage_pread_padded(storage, &byte, 1, 0, NULL) != 0)
		_exit(3);
	qcowfmt_storage_free(storage);
}

static void do_io_with_short_lock(void)
{
	init(QCF_RANK_ALLOC, QCF_RANK_MAP);
	QCF_GUARD(&low);
	QCF_GUARD(&high);
	read_storage();
}

static void do_io_with_long_lock(void)
{
	init(QCF_RANK_ALLOC, QCF_RANK_MAP);
	QCF_GUARD(&low);
	read_storage();
}

/* The lock of the condition is not the last one taken. */
static void wait_with_higher_lock(void)
{
	init(QCF_RANK_ALLOC, QCF_RANK_CACHE);
	QCF_GUARD(&low);
	QCF_GUARD(&high);
	qcf_cond_wait_for(&cond, &low, 1);
}

static void wait_with_short_lock(void)
{
	init(QCF_RANK_MAP, QCF_RANK_CACHE);
	QCF_GUARD(&low);
	QCF_GUARD(&high);
	qcf_cond_wait_for(&cond, &high, 1);
}

static void wait_with_long_lock(void)
{
	init(QCF_RANK_COMMIT, QCF_RANK_CACHE);
	QCF_GUARD(&low);
	QCF_GUARD(&high);
	qcf_cond_wait_for(&cond, &high, 1);
}

static const struct row {
	void (*act)(void);
	const char *words; /* NULL: is allowed */
} rows[] = {
	{ take_in_order, NULL },
	{ take_out_of_order,
	  "QCF_RANK_ALLOC taken while holding QCF_RANK_CACHE" },
	{ take_same_rank, "QCF_RANK_CACHE taken while holding QCF_RANK_CACHE" },
	{ drop_what_is_not_held, "QCF_RANK_ALLOC dropped and not held" },
	{ do_io_with_short_lock, "read of storage while holding QCF_RANK_MAP" },
	{ do_io_with_long_lock, NULL },
	{ wait_with_higher_lock,
	  "QCF_RANK_ALLOC waited with while holding QCF_RANK_CACHE" },
	{ wait_with_short_lock,
	  "QCF_RANK_CACHE waited with while holding QCF_RANK_MAP" },
	{ wait_with_long_lock, NULL },
};

static void run_child(const struct row *row, int words)
{
	signal(SIGABRT, SIG_DFL);
	dup2(words, STDERR_FILENO);
	row->act();
	_exit(0);
}

START_TEST(rule_is_watched)
{
	const struct row *row = &rows[_i];
	char text[256] = "";
	int ends[2];
	int status;
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		run_child(row, ends[1]);
	close(ends[1]);
	ck_assert_int_ge(read(ends[0], text, sizeof(text) - 1), 0);
	close(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (row->words == NULL) {
		ck_assert_msg(status == 0, "row %d: %s", _i, text);
		return;
	}
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
	              "row %d goes unnoticed", _i);
	ck_assert_msg(strstr(text, row->words) != NULL, "row %d: %s", _i, text);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, rule_is_watched, 0,
	                    sizeof(rows) / sizeof(rows[0]));
}

int main(void)
{
#ifdef QCF_DEBUG_LOCKS
	return unit_run("locks keep their order", add);
#else
	(void)add;
	printf("skipped: this build does not watch locks\n");
	return UNIT_SKIPPED;
#endif
}

/* SPDX-License-Identifier: MIT */
/*
 * fuzz_main.c - runs a target without libFuzzer
 *
 *   TARGET [--mutate N] FILE|DIRECTORY...
 *
 * Feeds each file to the target, in the order of their names, and with --mutate
 * N variants of each, the same ones every time.  Without arguments the input is
 * standard input, which is how AFL++ starts a program; built by its compiler,
 * one process takes many inputs.
 *
 * When an input ends the program, its name, or the variant itself in a file
 * crash-TARGET, says which one it was.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_ROOM ((size_t)1 << 16)

static uint64_t random_state;
static char report[4096]; /* what to say if the program ends now */
static const uint8_t *variant;
static size_t variant_len;
static char crash_name[256];

/* ---------------------------------------------------------- what libFuzzer has */

static void change_byte(uint8_t *data, size_t size)
{
	uint8_t *at = data + fuzz_below(&random_state, size);

	switch (fuzz_below(&random_state, 4)) {
	case 0:
		*at ^= (uint8_t)(1u << fuzz_below(&random_state, 8));
		break;
	case 1:
		*at = (uint8_t)fuzz_random(&random_state);
		break;
	case 2:
		*at = (uint8_t)(fuzz_below(&random_state, 2) - 1);
		break;
	default:
		*at = (uint8_t)(*at + fuzz_below(&random_state, 2) * 2 - 1);
		break;
	}
}

static void change_word(uint8_t *data, size_t size)
{
	size_t width = (size_t)2 << fuzz_below(&random_state, 3);
	uint64_t value = fuzz_nasty(&random_state);
	uint8_t *at;

	if (width > size)
		return;
	at = data + fuzz_below(&random_state, size - width + 1);
	for (size_t i = width; i > 0; i--, value >>= 8)
		at[i - 1] = (uint8_t)value;
}

static size_t cut_or_copy(uint8_t *data, size_t size, size_t max_size)
{
	size_t from = (size_t)fuzz_below(&random_state, size);
	size_t len = 1 + (size_t)fuzz_below(&random_state, size - from);

	if (fuzz_below(&random_state, 2) == 0 && len < size) {
		memmove(data + from, data + from + len, size - from - len);
		return size - len;
	}
	len = len < max_size - size ? len : max_size - size;
	memmove(data + from + len, data + from, size - from);
	return size + len;
}

static size_t mutate(uint8_t *data, size_t size, size_t max_size)
{
	if (size == 0) {
		data[0] = (uint8_t)fuzz_random(&random_state);
		return 1;
	}
	for (uint64_t n = 1 + fuzz_below(&random_state, 4); n > 0; n--) {
		switch (fuzz_below(&random_state, 4)) {
		case 0:
			change_word(data, size);
			break;
		case 1:
			size = cut_or_copy(data, size, max_size);
			break;
		default:
			change_byte(data, size);
			break;
		}
	}
	return size;
}

/* libFuzzer is not there, so its functions may be ours. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
	return mutate(data, size, max_size);
}

/* ------------------------------------------------------------------- reporting */

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(EXIT_FAILURE);
}

/* Signal handlers may do no more than this. */
static void keep_variant(void)
{
	int fd;

	if (variant == NULL)
		return;
	fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd >= 0 && write(fd, variant, variant_len) == (ssize_t)variant_len)
		say(crash_name);
	say("\n");
}

static void on_signal(int number)
{
	say(report);
	keep_variant();
	signal(number, SIG_DFL);
	raise(number);
}

static void watch_signals(const char *program)
{
	static const int signals[] = { SIGABRT, SIGALRM, SIGBUS, SIGFPE,
		                       SIGILL,  SIGSEGV, SIGTERM };
	const char *name = strrchr(program, '/');

	(void)snprintf(crash_name, sizeof(crash_name), "crash-%s",
	               name == NULL ? program : name + 1);
	for (size_t i = 0; i < QCF_ARRAY_LEN(signals); i++)
		signal(signals[i], on_signal);
}

/* --------------------------------------------------------------------- running */

struct totals {
	uint64_t files;
	uint64_t inputs;
	unsigned int mutations;
};

/* An input takes at most this long. */
#define SECONDS 60u

static void run_one(const uint8_t *data, size_t size)
{
	/* Exactly as long as told: reading behind it is noticed. */
	uint8_t *copy = fuzz_need(malloc(size > 0 ? size : 1));

	if (size > 0)
		memcpy(copy, data, size);
	alarm(SECONDS);
	(void)LLVMFuzzerTestOneInput(copy, size);
	alarm(0);
	free(copy);
}

static void run_variants(const uint8_t *data, size_t size, struct totals *t)
{
	static uint8_t bytes[INPUT_ROOM];

	random_state = size;
	for (size_t i = 0; i < size; i++)
		random_state = random_state * 31 + data[i];
	for (unsigned int i = 0; i < t->mutations; i++) {
		unsigned int seed = (unsigned int)fuzz_random(&random_state);

		memcpy(bytes, data, size);
		variant = bytes;
		if (LLVMFuzzerCustomMutator != NULL)
			variant_len = LLVMFuzzerCustomMutator(bytes, size,
			                                      INPUT_ROOM, seed);
		else
			variant_len = mutate(bytes, size, INPUT_ROOM);
		run_one(bytes, variant_len);
		t->inputs++;
	}
	variant = NULL;
}

static bool run_file(const char *path, struct totals *t)
{
	static uint8_t bytes[INPUT_ROOM];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (file == NULL) {
		say(path);
		say(": cannot be read\n");
		return false;
	}
	size = fread(bytes, 1, sizeof(bytes), file);
	(void)fclose(file);
	(void)snprintf(report, sizeof(report), "input: %s\n", path);
	run_one(bytes, size);
	t->files++;
	t->inputs++;
	run_variants(bytes, size, t);
	return true;
}

static bool run_path(const char *path, struct totals *t)
{
	struct dirent **names;
	struct stat info;
	bool ok = true;
	int count;

	if (stat(path, &info) < 0 || !S_ISDIR(info.st_mode))
		return run_file(path, t);
	count = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char *file = NULL;

		if (names[i]->d_name[0] != '.' &&
		    asprintf(&file, "%s/%s", path, names[i]->d_name) > 0)
			ok = run_file(file, t) && ok;
		free(file);
		free(names[i]);
	}
	free(names);
	return ok && count > 0;
}

#ifdef __AFL_FUZZ_TESTCASE_LEN
__AFL_FUZZ_INIT();

static void run_standard_input(void)
{
	const uint8_t *data;

	__AFL_INIT();
	data = __AFL_FUZZ_TESTCASE_BUF;
	while (__AFL_LOOP(10000))
		(void)LLVMFuzzerTestOneInput(data,
		                             (size_t)__AFL_FUZZ_TESTCASE_LEN);
}
#else
static void run_standard_input(void)
{
	static uint8_t bytes[INPUT_ROOM];

	run_one(bytes, fread(bytes, 1, sizeof(bytes), stdin));
}
#endif

int main(int argc, char **argv)
{
	FILE *out = fuzz_need(fdopen(dup(STDOUT_FILENO), "w"));
	struct totals t = { 0 };
	bool ok = true;
	int first = 1;

	if (LLVMFuzzerInitialize != NULL)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	if (argc < 2) {
		run_standard_input();
		return EXIT_SUCCESS;
	}
	watch_signals(argv[0]);
	if (argc > 2 && strcmp(argv[1], "--mutate") == 0) {
		t.mutations = (unsigned int)strtoul(argv[2], NULL, 0);
		first = 3;
	}
	if (getenv("QCF_LONG") != NULL)
		t.mutations *= 100;
	for (int i = first; i < argc; i++)
		ok = run_path(argv[i], &t) && ok;
	fprintf(out,
	        "figure: %s %" PRIu64 " inputs, %" PRIu64 " of them kept\n",
	        crash_name + strlen("crash-"), t.inputs, t.files);
	(void)fclose(out);
	return ok && t.inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

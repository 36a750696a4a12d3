/* SPDX-License-Identifier: MIT */
/*
 * path_trace.c - run a command and write down every file it reaches for
 *
 *   path_trace LOG COMMAND [ARGUMENT]...
 *
 * The log has one line for each system call that names something, also from
 * threads and children, in the order in which they ended:
 *
 *   CALL <tab> KIND <tab> RESULT <tab> PATH <tab> REAL
 *
 * KIND is "path" (O_PATH), "read", "write", "look", "change", "run", "peer", or
 * "unknown" for a call that nobody has judged yet.  RESULT is 0 or a negative
 * errno value.  PATH is as it was asked for, joined to its directory; REAL is
 * what an open gave, symbolic links followed.  Bytes that are not plain are
 * written as %XX.
 *
 * The kernel stops the command only at calls that are not known to be harmless
 * (seccomp), so nothing gets lost and little time either.  Ends as the command
 * does; 77 where such tracing is not possible.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "path_calls.h"

#define EXIT_SKIP   77
#define EXIT_BROKEN 99
#define MAX_TASKS   256
/* Two instructions each, and few more: the kernel takes 4096. */
#define MAX_HARMLESS 256
#define MAX_PATH     4200

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#else
#define NATIVE 0
#endif

/* A call that a task is in. */
struct task {
	pid_t tid;
	bool in_call;
	const struct path_call *call; /* NULL: unknown */
	long number;
	const char *kind;
	char path[2 * MAX_PATH];
};

static struct task tasks[MAX_TASKS];
static FILE *log_file;
static bool has_started; /* the command itself was executed */

static void broken(const char *what)
{
	fprintf(stderr, "path_trace: %s: %s\n", what, strerror(errno));
	exit(EXIT_BROKEN);
}

static struct task *find_task(pid_t tid)
{
	struct task *unused = NULL;

	for (size_t i = 0; i < MAX_TASKS; i++) {
		if (tasks[i].tid == tid)
			return &tasks[i];
		if (tasks[i].tid == 0 && unused == NULL)
			unused = &tasks[i];
	}
	if (unused == NULL)
		broken("too many threads");
	*unused = (struct task){ .tid = tid };
	return unused;
}

/* ------------------------------------------------------------ the traced side */

/* Every call that is not in the list stops the command. */
static int install_filter(void)
{
	struct sock_filter code[2 * MAX_HARMLESS + 8];
	struct sock_fprog program = { .filter = code };
	size_t n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
	                                         NATIVE, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
	                                         SECCOMP_RET_TRACE);
	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < harmless_call_count; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)harmless_calls[i],
			0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
		                                         SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
	                                         SECCOMP_RET_TRACE);
	program.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void run_command(char **argv)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(EXIT_SKIP);
	(void)raise(SIGSTOP);
	if (install_filter() < 0)
		_exit(EXIT_SKIP);
	(void)execv(argv[0], argv);
	_exit(EXIT_BROKEN);
}

/* ----------------------------------------------------------- reading its memory */

/* Up to size bytes; short at the end of a mapping. */
static size_t read_memory(pid_t tid, uint64_t address, void *buffer,
                          size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t part = 4096 - (size_t)((address + done) % 4096);
		struct iovec here = { (char *)buffer + done, 0 };
		/* An address is a number until the kernel is asked. */
		struct iovec there = { (void *)(uintptr_t)(address + done), 0 };

		if (part > size - done)
			part = size - done;
		here.iov_len = part;
		there.iov_len = part;
		if (process_vm_readv(tid, &here, 1, &there, 1, 0) !=
		    (ssize_t)part)
			break;
		done += part;
	}
	return done;
}

static void read_text(pid_t tid, uint64_t address, char *text, size_t size)
{
	size_t len = read_memory(tid, address, text, size - 1);

	text[len] = '\0';
}

static void read_link(pid_t tid, const char *name, int number, char *text,
                      size_t size)
{
	char path[64];
	ssize_t len;

	if (number < 0)
		snprintf(path, sizeof(path), "/proc/%d/%s", tid, name);
	else
		snprintf(path, sizeof(path), "/proc/%d/%s/%d", tid, name,
		         number);
	len = readlink(path, text, size - 1);
	text[len < 0 ? 0 : len] = '\0';
}

/* -------------------------------------------------------------------- the log */

static const char *kind_of_open(uint64_t flags)
{
	if ((flags & O_PATH) != 0)
		return "path";
	if ((flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_ACCMODE) != 0)
		return "write";
	return "read";
}

static const char *kind_of(pid_t tid, const struct path_call *call,
                           const uint64_t *args)
{
	struct open_how how = { 0 };

	switch (call->touch) {
	case TOUCH_OPEN:
		if (strcmp(call->name, "openat2") != 0)
			return kind_of_open(args[call->flags]);
		(void)read_memory(tid, args[call->flags], &how, sizeof(how));
		return kind_of_open(how.flags);
	case TOUCH_LOOK:
		return "look";
	case TOUCH_CHANGE:
		return "change";
	case TOUCH_RUN:
		return "run";
	default:
		return "peer";
	}
}

static void find_path(struct task *task, const struct path_call *call,
                      const uint64_t *args)
{
	char name[MAX_PATH];
	char directory[MAX_PATH] = "";
	int number = call->directory == NO_ARGUMENT
	                     ? AT_FDCWD
	                     : (int)args[call->directory];

	task->path[0] = '\0';
	if (call->touch == TOUCH_PEER)
		return;
	read_text(task->tid, args[call->path], name, sizeof(name));
	/* An empty path stands for a descriptor that is open already. */
	if (name[0] == '\0')
		return;
	if (name[0] != '/') {
		read_link(task->tid, number == AT_FDCWD ? "cwd" : "fd",
		          number == AT_FDCWD ? -1 : number, directory,
		          sizeof(directory));
		strcat(directory, "/");
	}
	snprintf(task->path, sizeof(task->path), "%s%s", directory, name);
}

static void print_escaped(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text > ' ' && *text < 0x7f && *text != '%')
			fputc(*text, log_file);
		else
			fprintf(log_file, "%%%02X", (unsigned char)*text);
	}
}

static void print_call(const struct task *task, int64_t result)
{
	char real[MAX_PATH] = "";

	if (task->call == NULL) {
		fprintf(log_file, "%ld\tunknown\t%lld\t\t\n", task->number,
		        (long long)result);
		return;
	}
	if (task->path[0] == '\0' && task->call->touch != TOUCH_PEER)
		return;
	if (task->call->touch == TOUCH_OPEN && result >= 0)
		read_link(task->tid, "fd", (int)result, real, sizeof(real));
	fprintf(log_file, "%s\t%s\t%lld\t", task->call->name, task->kind,
	        result < 0 ? (long long)result : 0);
	print_escaped(task->path);
	fputc('\t', log_file);
	print_escaped(real);
	fputc('\n', log_file);
}

/* ---------------------------------------------------------------------- tracing */

/* A call begins that is not known to be harmless. */
static void enter(pid_t tid, const struct __ptrace_syscall_info *info)
{
	struct task *task = find_task(tid);

	task->in_call = true;
	task->number = (long)info->seccomp.nr;
	task->call = info->arch == NATIVE ? find_path_call(task->number) : NULL;
	if (task->call == NULL)
		return;
	task->kind =
		kind_of(tid, task->call, (const uint64_t *)info->seccomp.args);
	find_path(task, task->call, (const uint64_t *)info->seccomp.args);
}

static void leave(pid_t tid, const struct __ptrace_syscall_info *info)
{
	struct task *task = find_task(tid);

	task->in_call = false;
	/* The first is how the command itself comes to life. */
	if (task->call != NULL && task->call->touch == TOUCH_RUN &&
	    !has_started)
		has_started = info->exit.rval == 0;
	else
		print_call(task, info->exit.rval);
}

/* A stop that is not a signal. */
static void take_stop(pid_t tid, int status)
{
	struct __ptrace_syscall_info info = { 0 };
	int event = status >> 16;
	bool is_call = event == PTRACE_EVENT_SECCOMP ||
	               WSTOPSIG(status) == (SIGTRAP | 0x80);

	if (is_call &&
	    ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0) {
		if (info.op == PTRACE_SYSCALL_INFO_SECCOMP) {
			enter(tid, &info);
		} else if (info.op == PTRACE_SYSCALL_INFO_EXIT &&
		           find_task(tid)->in_call) {
			leave(tid, &info);
		}
	}
}

/* An executing task gets its exit stop after the event. */
static void go_on(pid_t tid, uintptr_t sig)
{
	if (find_task(tid)->in_call)
		(void)ptrace(PTRACE_SYSCALL, tid, NULL, (void *)sig);
	else
		(void)ptrace(PTRACE_CONT, tid, NULL, (void *)sig);
}

static bool is_own_stop(int status)
{
	int sig = WSTOPSIG(status);

	return status >> 16 != 0 || sig == (SIGTRAP | 0x80) || sig == SIGSTOP;
}

static int follow(pid_t command)
{
	int result = EXIT_BROKEN;
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		uintptr_t sig = 0;

		if (tid <= 0)
			continue;
		if (!WIFSTOPPED(status)) {
			find_task(tid)->tid = 0;
			if (tid == command)
				result = WIFEXITED(status)
				                 ? WEXITSTATUS(status)
				                 : 128 + WTERMSIG(status);
			continue;
		}
		if (is_own_stop(status))
			take_stop(tid, status);
		else
			sig = (uintptr_t)WSTOPSIG(status);
		go_on(tid, sig);
	}
	return result;
}

int main(int argc, char **argv)
{
	const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD |
	                     PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
	                     PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
	                     PTRACE_O_EXITKILL;
	pid_t command;
	int status = 0;

	if (argc < 3)
		broken("LOG and COMMAND are missing");
	if (NATIVE == 0 || harmless_call_count > MAX_HARMLESS) {
		fputs("path_trace: not for this architecture\n", stderr);
		return EXIT_SKIP;
	}
	log_file = fopen(argv[1], "we");
	if (log_file == NULL)
		broken(argv[1]);
	command = fork();
	if (command == 0)
		run_command(argv + 2);
	if (command < 0 || waitpid(command, &status, 0) != command)
		broken("starting the command");
	if (!WIFSTOPPED(status))
		return EXIT_SKIP;
	if (ptrace(PTRACE_SETOPTIONS, command, NULL, (void *)options) < 0)
		return EXIT_SKIP;
	(void)ptrace(PTRACE_CONT, command, NULL, NULL);
	status = follow(command);
	if (ferror(log_file) != 0 || fclose(log_file) != 0)
		broken(argv[1]);
	return has_started ? status : EXIT_SKIP;
}

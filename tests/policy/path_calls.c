/* SPDX-License-Identifier: MIT */
/* path_calls.c - which system calls reach for a file, and which cannot */
#include <sys/syscall.h>

#include "path_calls.h"

#if defined(__x86_64__) || defined(__aarch64__)

/* Two paths in one call count as one: tests have no use for either. */
const struct path_call path_calls[] = {
	{ SYS_openat, "openat", TOUCH_OPEN, 0, 1, 2 },
#ifdef SYS_openat2
	{ SYS_openat2, "openat2", TOUCH_OPEN, 0, 1, 2 },
#endif
	{ SYS_newfstatat, "newfstatat", TOUCH_LOOK, 0, 1, NO_ARGUMENT },
	{ SYS_statx, "statx", TOUCH_LOOK, 0, 1, NO_ARGUMENT },
	{ SYS_faccessat, "faccessat", TOUCH_LOOK, 0, 1, NO_ARGUMENT },
#ifdef SYS_faccessat2
	{ SYS_faccessat2, "faccessat2", TOUCH_LOOK, 0, 1, NO_ARGUMENT },
#endif
	{ SYS_readlinkat, "readlinkat", TOUCH_LOOK, 0, 1, NO_ARGUMENT },
	{ SYS_statfs, "statfs", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_getxattr, "getxattr", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_lgetxattr, "lgetxattr", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_listxattr, "listxattr", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_llistxattr, "llistxattr", TOUCH_LOOK, NO_ARGUMENT, 0,
	  NO_ARGUMENT },
	{ SYS_inotify_add_watch, "inotify_add_watch", TOUCH_LOOK, NO_ARGUMENT,
	  1, NO_ARGUMENT },
	{ SYS_name_to_handle_at, "name_to_handle_at", TOUCH_LOOK, 0, 1,
	  NO_ARGUMENT },
	{ SYS_chdir, "chdir", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_mkdirat, "mkdirat", TOUCH_CHANGE, 0, 1, NO_ARGUMENT },
	{ SYS_mknodat, "mknodat", TOUCH_CHANGE, 0, 1, NO_ARGUMENT },
	{ SYS_unlinkat, "unlinkat", TOUCH_CHANGE, 0, 1, NO_ARGUMENT },
	{ SYS_linkat, "linkat", TOUCH_CHANGE, 2, 3, NO_ARGUMENT },
	{ SYS_symlinkat, "symlinkat", TOUCH_CHANGE, 1, 2, NO_ARGUMENT },
#ifdef SYS_renameat
	{ SYS_renameat, "renameat", TOUCH_CHANGE, 2, 3, NO_ARGUMENT },
#endif
	{ SYS_renameat2, "renameat2", TOUCH_CHANGE, 2, 3, NO_ARGUMENT },
	{ SYS_fchmodat, "fchmodat", TOUCH_CHANGE, 0, 1, NO_ARGUMENT },
	{ SYS_fchownat, "fchownat", TOUCH_CHANGE, 0, 1, NO_ARGUMENT },
	{ SYS_utimensat, "utimensat", TOUCH_CHANGE, 0, 1, NO_ARGUMENT },
	{ SYS_truncate, "truncate", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_setxattr, "setxattr", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_execve, "execve", TOUCH_RUN, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_execveat, "execveat", TOUCH_RUN, 0, 1, NO_ARGUMENT },
	{ SYS_connect, "connect", TOUCH_PEER, NO_ARGUMENT, 1, NO_ARGUMENT },
	{ SYS_bind, "bind", TOUCH_PEER, NO_ARGUMENT, 1, NO_ARGUMENT },
/* The older ones, which newer architectures do without. */
#ifdef SYS_open
	{ SYS_open, "open", TOUCH_OPEN, NO_ARGUMENT, 0, 1 },
	{ SYS_creat, "creat", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_stat, "stat", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_lstat, "lstat", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_access, "access", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_readlink, "readlink", TOUCH_LOOK, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_mkdir, "mkdir", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_rmdir, "rmdir", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_unlink, "unlink", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_rename, "rename", TOUCH_CHANGE, NO_ARGUMENT, 1, NO_ARGUMENT },
	{ SYS_link, "link", TOUCH_CHANGE, NO_ARGUMENT, 1, NO_ARGUMENT },
	{ SYS_symlink, "symlink", TOUCH_CHANGE, NO_ARGUMENT, 1, NO_ARGUMENT },
	{ SYS_mknod, "mknod", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_chmod, "chmod", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_chown, "chown", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_lchown, "lchown", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
	{ SYS_utimes, "utimes", TOUCH_CHANGE, NO_ARGUMENT, 0, NO_ARGUMENT },
#endif
};

const size_t path_call_count = sizeof(path_calls) / sizeof(path_calls[0]);

const long harmless_calls[] = {
	/* descriptors that are open; socket() alone reaches nobody, but nothing
	 * here has any use for one, so it is not in the list */
	SYS_read,
	SYS_write,
	SYS_readv,
	SYS_writev,
	SYS_pread64,
	SYS_pwrite64,
	SYS_preadv,
	SYS_pwritev,
	SYS_preadv2,
	SYS_pwritev2,
	SYS_close,
	SYS_lseek,
	SYS_fstat,
	SYS_fstatfs,
	SYS_fsync,
	SYS_fdatasync,
	SYS_ftruncate,
	SYS_fallocate,
	SYS_fadvise64,
	SYS_fcntl,
	SYS_flock,
	SYS_dup,
	SYS_dup3,
	SYS_ioctl,
	SYS_copy_file_range,
	SYS_sync_file_range,
	SYS_pipe2,
	SYS_ppoll,
	SYS_getdents64,
	SYS_eventfd2,
	SYS_readahead,
	SYS_fgetxattr,
	/* memory */
	SYS_mmap,
	SYS_munmap,
	SYS_mprotect,
	SYS_mremap,
	SYS_madvise,
	SYS_brk,
	SYS_mlock,
	SYS_munlock,
	SYS_mlock2,
	SYS_mincore,
	SYS_msync,
	/* threads and signals */
	SYS_futex,
	SYS_clone,
	SYS_set_robust_list,

	SYS_set_tid_address,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_sigaltstack,
	SYS_gettid,
	SYS_tgkill,
	SYS_kill,
	SYS_restart_syscall,
	SYS_sched_yield,
	SYS_sched_getaffinity,
	SYS_sched_setaffinity,
	SYS_sched_getparam,
	SYS_sched_getscheduler,
	SYS_membarrier,
	SYS_wait4,
	SYS_exit,
	SYS_exit_group,
	/* the process, time */
	SYS_getpid,
	SYS_getppid,
	SYS_getuid,
	SYS_geteuid,
	SYS_getgid,
	SYS_getegid,
	SYS_getcwd,
	SYS_umask,
	SYS_uname,
	SYS_sysinfo,
	SYS_prlimit64,
	SYS_getrusage,
	SYS_prctl,
	SYS_getrandom,
	SYS_clock_gettime,
	SYS_clock_nanosleep,
	SYS_nanosleep,
	SYS_getpriority,
	SYS_setpriority,
	SYS_times,
	SYS_getitimer,
	SYS_setitimer,
/* not in every version of the header */
#ifdef SYS_close_range
	SYS_close_range,
#endif
#ifdef SYS_memfd_secret
	SYS_memfd_secret,
#endif
#ifdef SYS_clone3
	SYS_clone3,
#endif
#ifdef SYS_rseq
	SYS_rseq,
#endif
#ifdef SYS_arch_prctl
	SYS_arch_prctl,
	SYS_poll,
	SYS_select,
	SYS_pipe,
	SYS_dup2,
	SYS_alarm,
	SYS_time,
	SYS_getrlimit,
	SYS_fork,
	SYS_vfork,
#endif
};

const size_t harmless_call_count =
	sizeof(harmless_calls) / sizeof(harmless_calls[0]);

#else

/* path_trace skips there. */
const struct path_call path_calls[] = { { -1, "", TOUCH_LOOK, 0, 0, 0 } };
const size_t path_call_count = 0;
const long harmless_calls[] = { -1 };
const size_t harmless_call_count = 0;

#endif

const struct path_call *find_path_call(long number)
{
	for (size_t i = 0; i < path_call_count; i++) {
		if (path_calls[i].number == number)
			return &path_calls[i];
	}
	return NULL;
}

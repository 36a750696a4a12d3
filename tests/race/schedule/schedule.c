/* SPDX-License-Identifier: MIT */
/*
 * schedule.c - who runs next
 *
 * Every thread has a stack and a saved context; the scheduler's own is that of
 * the caller of qcf_schedule_run().  A thread gives up the processor by
 * switching to the scheduler, which picks another one.
 */

/* With it longjmp() takes another stack for a mistake. */
#undef _FORTIFY_SOURCE

#include "schedule.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "lock_order.h"
#include "order.h"
#include "stack_switch.h"

#define STACK_SIZE ((size_t)256 << 10)
#define GUARD_SIZE ((size_t)16 << 10)
#define MAX_POINTS UINT64_C(400000)

enum state {
	FREE,
	READY,
	WAITING,
	ENDED,
};

/* Where somebody goes on. */
struct place {
	ucontext_t context; /* for the first time */
	jmp_buf jump;       /* later: saves no signals, so no system call */
	bool has_jump;
};

struct fiber {
	enum state state;
	struct place place;
	uint8_t *stack; /* kept for later runs */
	struct qcf_stack_switch switching;
	void (*main)(void *argument);
	void *argument;
	struct qcf_held_locks locks; /* while it does not run */
	uint64_t priority;
	enum qcf_point why; /* it waits */
	const volatile void *object;
	bool may_time_out;
};

/* How the present run picks. */
struct picking {
	bool by_priority;
	uint64_t one_in;       /* random walk: switch at one point in so many */
	uint64_t changes_left; /* of priorities */
	uint64_t until_next;   /* points; counts down */
	bool weak_points;      /* also look at those */
	bool atomic_points;    /* look at atomic accesses at all */
	bool spurious;         /* wake up for no reason sometimes */
};

static struct fiber fibers[QCF_MAX_FIBERS];
static int fiber_count;
static int self = -1;
static struct place scheduler;
static struct qcf_stack_switch scheduler_switching;
static struct qcf_schedule_plan plan;
static struct qcf_schedule_result *result;
static struct picking picking;
static uint64_t random_state;
static uint64_t clock_now;
static uint64_t look_at; /* the point at which plan.look is called */

/* ----------------------------------------------------------------- choices */

static uint64_t next_random(void)
{
	random_state += UINT64_C(0x9e3779b97f4a7c15);
	return qcf_mix(random_state, 3);
}

uint64_t qcf_schedule_random(uint64_t limit)
{
	return next_random() % limit;
}

/* Points that a run as this one has about. */
static uint64_t run_length(void)
{
	return picking.atomic_points ? plan.length : plan.coarse_length;
}

/* Points until the next change of priorities: spread over what is left. */
static uint64_t next_change(void)
{
	uint64_t length = run_length();
	uint64_t left = length > result->points ? length - result->points : 1;

	if (picking.changes_left == 0)
		return UINT64_MAX;
	picking.changes_left--;
	return 1 + qcf_schedule_random(left / (picking.changes_left + 1) + 1);
}

static uint64_t until_next(void)
{
	if (picking.by_priority)
		return next_change();
	return 1 + qcf_schedule_random(2 * picking.one_in - 1);
}

static void choose_picking(void)
{
	static const uint64_t one_in[] = { 1, 1, 2, 4, 12, 40 };

	picking = (struct picking){
		.by_priority = qcf_schedule_random(2) == 0,
		.one_in = one_in[qcf_schedule_random(6)],
		.changes_left = 1 + qcf_schedule_random(4),
		.atomic_points = qcf_schedule_random(3) != 0,
		.weak_points = qcf_schedule_random(8) == 0,
		.spurious = qcf_schedule_random(4) == 0,
	};
	/* Most runs with atomic points have several times as many. */
	if (picking.atomic_points)
		picking.one_in *= 4;
}

static int pick_random(void)
{
	int ready[QCF_MAX_FIBERS];
	uint64_t count = 0;

	for (int i = 0; i < fiber_count; i++) {
		if (fibers[i].state == READY)
			ready[count++] = i;
	}
	return count > 0 ? ready[qcf_schedule_random(count)] : -1;
}

static int pick_highest(void)
{
	int best = -1;

	for (int i = 0; i < fiber_count; i++) {
		if (fibers[i].state == READY &&
		    (best < 0 || fibers[i].priority > fibers[best].priority))
			best = i;
	}
	return best;
}

/* Somebody whose time is over; -1 if nobody waits with a limit. */
static int time_out(void)
{
	for (int i = 0; i < fiber_count; i++) {
		if (fibers[i].state == WAITING && fibers[i].may_time_out) {
			fibers[i].state = READY;
			return i;
		}
	}
	return -1;
}

static int pick(void)
{
	int next = picking.by_priority ? pick_highest() : pick_random();

	return next >= 0 ? next : time_out();
}

/* --------------------------------------------------------------- switching */

#ifdef QCF_STACK_SWITCH_ASAN
/* It follows only these. */
static void change_places(struct place *from, const struct place *to)
{
	swapcontext(&from->context, &to->context);
}
#else
static void change_places(struct place *from, struct place *to)
{
	from->has_jump = true;
	if (_setjmp(from->jump) != 0)
		return;
	if (to->has_jump)
		_longjmp(to->jump, 1);
	setcontext(&to->context);
	abort();
}
#endif

static void give_up(void)
{
	struct fiber *me = &fibers[self];

	me->locks = qcf_held_locks;
	qcf_stack_leave(&me->switching, &scheduler_switching,
	                me->state == ENDED);
	change_places(&me->place, &scheduler);
	qcf_stack_arrive(&me->switching);
}

static void fiber_main(void)
{
	struct fiber *me = &fibers[self];

	qcf_stack_arrive(&me->switching);
	me->main(me->argument);
	qcf_point(QCF_POINT_END, me);
	me->state = ENDED;
	qcf_fiber_wake(me);
	give_up();
	abort();
}

static void let_run(int next)
{
	struct fiber *f = &fibers[next];

	if (next != self)
		result->switches++;
	self = next;
	qcf_held_locks = f->locks;
	qcf_stack_leave(&scheduler_switching, &f->switching, false);
	change_places(&scheduler, &f->place);
	qcf_stack_arrive(&scheduler_switching);
}

static uint8_t *make_stack(void)
{
	uint8_t *stack =
		mmap(NULL, STACK_SIZE + GUARD_SIZE, PROT_READ | PROT_WRITE,
	             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack == MAP_FAILED || mprotect(stack, GUARD_SIZE, PROT_NONE) != 0)
		abort();
	return stack;
}

int qcf_fiber_start(void (*main)(void *argument), void *argument)
{
	struct fiber *f = &fibers[fiber_count];

	if (fiber_count == QCF_MAX_FIBERS)
		abort();
	if (f->stack == NULL)
		f->stack = make_stack();
	f->main = main;
	f->argument = argument;
	f->locks = (struct qcf_held_locks){ .count = 0 };
	f->priority = (next_random() >> 1) | UINT64_C(1) << 62;
	f->state = READY;
	f->place.has_jump = false;
	getcontext(&f->place.context);
	f->place.context.uc_stack.ss_sp = f->stack + GUARD_SIZE;
	f->place.context.uc_stack.ss_size = STACK_SIZE;
	qcf_stack_init(&f->switching, f->stack + GUARD_SIZE, STACK_SIZE);
	makecontext(&f->place.context, fiber_main, 0);
	return fiber_count++;
}

/* ------------------------------------------------------------------- points */

/* The lowest priority of all from now on. */
static void sink(struct fiber *f)
{
	uint64_t lowest = UINT64_MAX;

	for (int i = 0; i < fiber_count; i++)
		lowest = fibers[i].priority < lowest ? fibers[i].priority
		                                     : lowest;
	f->priority = lowest - 1;
}

static bool is_atomic(enum qcf_point kind)
{
	return kind >= QCF_POINT_LOAD && kind <= QCF_POINT_WEAK_STORE;
}

static bool is_weak(enum qcf_point kind)
{
	return kind == QCF_POINT_WEAK_LOAD || kind == QCF_POINT_WEAK_STORE;
}

static bool changes(enum qcf_point kind)
{
	return kind != QCF_POINT_LOAD && kind != QCF_POINT_READ &&
	       kind != QCF_POINT_SIZE;
}

static void count_point(enum qcf_point kind, const volatile void *object)
{
	result->points++;
	if (!is_atomic(kind))
		result->coarse_points++;
	result->sequence =
		qcf_mix(result->sequence, (uint64_t)self << 8 | (uint64_t)kind);
	qcf_order_add(self, kind, object, changes(kind));
	if (result->points == look_at)
		plan.look(plan.opaque);
}

/* Whoever else is to run before this takes place does so in here. */
void qcf_point(enum qcf_point kind, const volatile void *object)
{
	if (self < 0)
		return;
	if ((is_weak(kind) && !picking.weak_points) ||
	    (is_atomic(kind) && !picking.atomic_points)) {
		if (!is_weak(kind))
			qcf_order_add(self, kind, object, changes(kind));
		return;
	}
	if (--picking.until_next == 0) {
		if (picking.by_priority)
			sink(&fibers[self]);
		picking.until_next = until_next();
		give_up();
	}
	count_point(kind, object);
}

void qcf_happened(enum qcf_point kind, const volatile void *object)
{
	if (self >= 0)
		qcf_order_add(self, kind, object, changes(kind));
}

void qcf_fiber_wait(enum qcf_point why, const volatile void *object,
                    bool may_time_out)
{
	struct fiber *me = &fibers[self];

	me->state = WAITING;
	me->why = why;
	me->object = object;
	me->may_time_out = may_time_out;
	give_up();
}

/* With priorities the one who was waiting may be the next to run. */
void qcf_fiber_wake(const volatile void *object)
{
	for (int i = 0; i < fiber_count; i++) {
		struct fiber *f = &fibers[i];

		if (f->state != WAITING || f->object != object)
			continue;
		f->state = READY;
		if (self >= 0 && picking.by_priority &&
		    f->priority > fibers[self].priority)
			picking.until_next = 1;
	}
}

bool qcf_fiber_is_spurious(void)
{
	return picking.spurious && qcf_schedule_random(8) == 0;
}

int qcf_fiber_self(void)
{
	return self;
}

bool qcf_fiber_has_ended(int fiber)
{
	return fibers[fiber].state == ENDED;
}

const void *qcf_fiber_address(int fiber)
{
	return &fibers[fiber];
}

uint64_t qcf_schedule_now(void)
{
	return ++clock_now;
}

/* ---------------------------------------------------------------- the run */

void qcf_schedule_begin(const struct qcf_schedule_plan *wanted)
{
	plan = *wanted;
	random_state = qcf_mix(plan.seed, 4);
	fiber_count = 0;
	clock_now = 0;
	qcf_order_begin();
	choose_picking();
}

static const char *why_text(enum qcf_point why)
{
	switch (why) {
	case QCF_POINT_LOCK:
		return "a mutex";
	case QCF_POINT_WAIT:
		return "a condition";
	case QCF_POINT_JOIN:
		return "the end of a thread";
	default:
		return "something";
	}
}

static void tell_deadlock(void)
{
	size_t used = 0;

	for (int i = 0; i < fiber_count; i++) {
		const struct fiber *f = &fibers[i];

		if (f->state != WAITING || used >= sizeof(result->text))
			continue;
		used += (size_t)snprintf(
			result->text + used, sizeof(result->text) - used,
			"thread %d waits for %s; ", i, why_text(f->why));
	}
}

static bool all_have_ended(void)
{
	for (int i = 0; i < fiber_count; i++) {
		if (fibers[i].state != ENDED)
			return false;
	}
	return true;
}

static enum qcf_schedule_end run_all(void)
{
	while (!all_have_ended()) {
		int next = pick();

		if (next < 0)
			return QCF_SCHEDULE_DEADLOCK;
		if (result->points > MAX_POINTS)
			return QCF_SCHEDULE_TOO_LONG;
		let_run(next);
	}
	return QCF_SCHEDULE_DONE;
}

void qcf_schedule_run(struct qcf_schedule_result *out)
{
	result = out;
	*result = (struct qcf_schedule_result){ 0 };
	picking.until_next = until_next();
	look_at = plan.look != NULL ? 1 + qcf_schedule_random(run_length() + 1)
	                            : 0;
	result->end = run_all();
	self = -1;
	qcf_held_locks = (struct qcf_held_locks){ .count = 0 };
	result->order = qcf_order_hash();
	if (result->end == QCF_SCHEDULE_DEADLOCK)
		tell_deadlock();
}

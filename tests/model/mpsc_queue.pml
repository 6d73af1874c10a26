/* The queue of an event loop, how the loop sleeps, and how both end: mpsc_queue.hpp, event_loop.hpp and worker_thread.hpp
 * (for_each_queued_task), with each atomic operation as one step, in every order. NO_THIEF leaves out who visits the queue.
 *
 * Holds if no assertion fails and all processes end: a lost wake-up is a loop that sleeps for ever. Orders of memory are
 * not part of it; ThreadSanitizer looks at those.
 *
 * Each macro of the list below breaks one rule, to show that this would be found:
 *   PARK_ANYWAY      the loop says that it sleeps without looking whether something was pushed
 *   CLOSE_ANYWAY     the same with its end
 *   WAKE_IF_EMPTY    a pusher wakes the loop when the list was empty, not when the loop sleeps
 *   UNCOUNTED        nobody counts who is between a push and the end of its wake-up call
 *   NOT_KEPT         who is between a push and the end of its wake-up call does not keep the loop itself
 *   UNLOCKED_THIEF   who visits the queue does not keep the loop from ending meanwhile
 */

#ifndef PUSHERS
#define PUSHERS 2
#endif
#define STOP (PUSHERS + 1) /* the last piece of work: it tells the loop to end */
#define NOTHING 0
#define PARKED 100
#define CLOSED 101

byte head = NOTHING;   /* mpsc_queue::head_ */
byte next[STOP + 1];   /* work::next */
byte users = 1;        /* event_loop::users_ */
bool registry = false; /* task_registry::mutex is locked */
bool open = true;      /* the descriptor of the wake-up */
bool freed = false;    /* the loop itself */
bool event = false;    /* written to it, and not yet told by a wait */
byte spurious = 1;     /* waits that may end by themselves: a timer, a signal */

byte ran[STOP + 1];
byte accepted[STOP + 1]; /* post() returned true */
byte refused[STOP + 1];

inline lock() { atomic { !registry -> registry = true } }
inline unlock() { registry = false }

inline leave() {
    d_step { assert(!freed); users--; last = (users == 0) };
    if
    :: last ->
        atomic { assert(open); open = false };
#ifndef NOT_KEPT
        freed = true
#endif
    :: else
    fi
}

/* event_loop::post from another thread; `ok` tells whether the work was accepted. */
inline post(w) {
#ifndef UNCOUNTED
    d_step {
        ok = (users != 0);
        if
        :: ok -> users++
        :: else
        fi
    };
#else
    ok = true;
#endif
    if
    :: ok ->
        h = head;
        do
        :: h == CLOSED -> ok = false; break
        :: else ->
            next[w] = (h == PARKED -> NOTHING : h);
            d_step {
                done = (head == h);
                if
                :: done -> head = w
                :: else -> h = head /* as a failed compare-exchange does */
                fi
            };
            if
            :: done -> break
            :: else
            fi
        od;
        if
#ifndef WAKE_IF_EMPTY
        :: ok && h == PARKED -> atomic { assert(open); event = true }
#else
        :: ok && h == NOTHING -> atomic { assert(open); event = true }
#endif
        :: else
        fi;
        d_step { h = NOTHING; done = false }; /* fewer states that differ in nothing */
#ifndef UNCOUNTED
        leave()
#endif
    :: else
    fi
}

proctype pusher(byte w) {
    byte h;
    bool ok, done, last;
    post(w);
    if
    :: ok -> accepted[w]++
    :: else -> refused[w]++
    fi
}


/* Takes what is in the queue, visits it, and puts it back. */
proctype thief() {
    byte h, w, first, after;
    bool ok, done, last;
    /* It holds the loop, not its descriptor. */
#ifndef UNLOCKED_THIEF
    lock();
#endif
    h = head;
    do
    :: h == NOTHING || h == PARKED || h == CLOSED -> h = NOTHING; break
    :: else ->
        d_step {
            done = (head == h);
            if
            :: done -> head = NOTHING
            :: else -> h = head
            fi
        };
        if
        :: done -> break
        :: else
        fi
    od;
    skip;
    d_step { /* oldest first; nobody else knows of them */
        first = NOTHING;
        w = h;
        do
        :: w != NOTHING -> after = next[w]; next[w] = first; first = w; w = after
        :: else -> break
        od;
        after = NOTHING
    };
    do
    :: first != NOTHING ->
        w = first;
        first = next[w];
        post(w);
        assert(ok) /* what was accepted once must not be lost */
    :: else -> break
    od;
#ifndef UNLOCKED_THIEF
    unlock()
#endif
}

proctype loop() {
    byte w, taken, after;
    bool stopping, done, last;
    do
    ::
        /* take() */
        if
        :: head == NOTHING -> taken = NOTHING
        :: else -> d_step { assert(head != PARKED && head != CLOSED); taken = head; head = NOTHING }
        fi;
        if
        :: taken != NOTHING -> /* to the end before anything else is looked at, so one step; order: oldest first */
            d_step {
                w = NOTHING;
                do
                :: taken != NOTHING -> after = next[taken]; next[taken] = w; w = taken; taken = after
                :: else -> break
                od;
                do
                :: w != NOTHING ->
                    ran[w]++;
                    assert(ran[w] == 1);
                    if
                    :: w == STOP -> stopping = true
                    :: else
                    fi;
                    after = next[w];
                    next[w] = NOTHING;
                    w = after
                :: else -> break
                od;
                after = NOTHING
            }
        :: else ->
            if
            :: stopping ->
                lock();
#ifndef CLOSE_ANYWAY
                d_step {
                    done = (head == NOTHING);
                    if
                    :: done -> head = CLOSED
                    :: else
                    fi
                };
#else
                d_step { head = CLOSED; done = true };
#endif
                unlock();
                if
                :: done -> break
                :: else
                fi
            :: else
            fi;
#ifndef PARK_ANYWAY
            d_step {
                done = (head == NOTHING);
                if
                :: done -> head = PARKED
                :: else
                fi
            };
#else
            d_step { head = PARKED; done = true };
#endif
            if
            :: done ->
                if
                :: event -> event = false
                :: spurious > 0 -> spurious--
                fi;
                d_step {
                    if
                    :: head == PARKED -> head = NOTHING
                    :: else
                    fi
                }
            :: else
            fi
        fi
    od;
    leave(); /* release_poller() */
#ifdef NOT_KEPT
    freed = true
#endif
}

init {
    byte i;
    atomic {
        run loop();
        i = 1;
        do
        :: i <= STOP -> run pusher(i); i++
        :: else -> break
        od;
#ifndef NO_THIEF
        run thief();
#endif
        i = 0
    };
    _nr_pr == 1;
    d_step {
        assert(!open && freed && users == 0);
        assert(accepted[STOP] == 1);
        i = 1;
        do
        :: i <= STOP -> assert(ran[i] == accepted[i] && accepted[i] + refused[i] == 1); i++
        :: else -> break
        od
    }
}

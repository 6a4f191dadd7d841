// Fibers: see fibers.h. A fiber runs threads of the block one after the other until one of them waits; then the
// next fiber goes on with the threads that have not begun. A kernel without barriers so runs as a loop on one
// fiber, and only kernels that wait pay for switching.
#include "shim.h"

#include <csetjmp>
#include <csignal>
#include <pthread.h>
#include <sys/mman.h>
#include <vector>

#include "internal.h"

// metrix_switch saves the registers that a call preserves on the stack, stores the stack pointer at *from and
// continues at the stack pointer to.
extern "C" void metrix_switch(void **from, void *to);

#if defined(__x86_64__)
asm(R"(
.text
.globl metrix_switch
.hidden metrix_switch
.type metrix_switch, @function
metrix_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size metrix_switch, .-metrix_switch
)");
enum { SavedWords = 6 };
#elif defined(__aarch64__)
asm(R"(
.text
.globl metrix_switch
.hidden metrix_switch
.type metrix_switch, %function
metrix_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size metrix_switch, .-metrix_switch
)");
#else
#error "the emulator switches fibers on x86-64 and 64-bit Arm only"
#endif

namespace emulator {

namespace {

constexpr size_t stackBytes = 64 << 10;

struct Fiber {
    void *sp = nullptr;
    char *stack = nullptr;
    int thread = 0;
};

// Everything about the block that runs.
struct Block {
    Grid geometry;
    void (*body)(void *);
    void *data;
    bool reverse;
    int threads;
    int next; // threads [0, next) have begun
    std::vector<State> state;
    std::vector<Fiber *> fiber; // of a waiting thread
    std::vector<uint64_t> slots[2];
    std::vector<unsigned char> parity;
    std::vector<Fiber *> idle, all;
    Fiber *current;
    void *scheduler;
};

Block block; // calls are serialised (internal.h)

int index(int i) { return block.reverse ? block.threads - 1 - i : i; }

void place(int thread) {
    const unsigned *b = block.geometry.block;
    threadIdx = {thread % b[0], thread / b[0] % b[1], thread / (b[0] * b[1])};
}

// main of a fiber: runs threads that have not begun, then rests until there are more.
void fiberMain() {
    for (;;) {
        while (block.next < block.threads) {
            Fiber *self = block.current;
            self->thread = index(block.next++);
            block.state[self->thread] = Running;
            place(self->thread);
            block.body(block.data);
            block.state[self->thread] = Done;
        }
        Fiber *self = block.current;
        block.idle.push_back(self);
        metrix_switch(&self->sp, block.scheduler);
    }
}

void prepare(Fiber *f) {
    if (f->stack == nullptr) {
        f->stack = (char *)mmap(nullptr, stackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (f->stack == MAP_FAILED) {
            f->stack = nullptr;
            fail(OutOfMemory);
        }
    }
    auto top = (void **)(f->stack + stackBytes);
#if defined(__x86_64__)
    top -= 2; // at the entry of a function the stack is 8 off a multiple of 16
    *top = (void *)fiberMain;
    top -= SavedWords;
    memset(top, 0, SavedWords * sizeof *top);
#else
    top -= 20;
    memset(top, 0, 160);
    top[11] = (void *)fiberMain; // x30
#endif
    f->sp = top;
}

Fiber *fresh() {
    if (block.idle.empty()) {
        block.all.push_back(new Fiber);
        prepare(block.all.back());
        return block.all.back();
    }
    Fiber *f = block.idle.back();
    block.idle.pop_back();
    return f;
}

void resume(Fiber *f) {
    block.current = f;
    metrix_switch(&block.scheduler, f->sp);
}

// release lets go what has arrived: every warp whose living threads all wait for their warp, or else the block
// if all its living threads wait for it. It reports whether there was any.
bool release(std::vector<int> &ready) {
    ready.clear();
    int living = 0, atBlock = 0;
    for (int first = 0; first < block.threads; first += 32) {
        int last = std::min(first + 32, block.threads), here = 0, waiting = 0;
        for (int t = first; t < last; t++) {
            here += block.state[t] != Done;
            waiting += block.state[t] == AtWarp;
            atBlock += block.state[t] == AtBlock;
        }
        living += here;
        if (waiting > 0 && waiting == here)
            for (int t = first; t < last; t++)
                if (block.state[t] == AtWarp)
                    ready.push_back(t);
    }
    if (ready.empty() && atBlock > 0 && atBlock == living)
        for (int t = 0; t < block.threads; t++)
            if (block.state[t] == AtBlock)
                ready.push_back(t);
    if (block.reverse)
        std::reverse(ready.begin(), ready.end());
    return !ready.empty();
}

void runBlock() {
    static std::vector<int> ready;
    block.state.assign(block.threads, Fresh);
    block.parity.assign(block.threads, 0);
    block.next = 0;
    while (block.next < block.threads)
        resume(fresh());
    while (release(ready))
        for (int t : ready) {
            block.state[t] = Running;
            place(t);
            resume(block.fiber[t]);
        }
    for (State s : block.state)
        if (s != Done)
            fail(LaunchFailed); // threads that wait for others that never come
}

sigjmp_buf escape;
pthread_t launching;
int failure;
struct sigaction previous;

// onFault turns an access to a guard of memory (or near null) of the launching thread into an error of the launch;
// any other fault is the process's own and goes where it went before.
void onFault(int, siginfo_t *info, void *) {
    if (pthread_equal(pthread_self(), launching) && (uintptr_t(info->si_addr) < 65536 || guarded(info->si_addr))) {
        failure = IllegalAddress;
        siglongjmp(escape, 1);
    }
    sigaction(SIGSEGV, &previous, nullptr);
}

// abandon forgets fibers that were in the middle of a thread.
void abandon() {
    block.idle.clear();
    for (Fiber *f : block.all) {
        prepare(f);
        block.idle.push_back(f);
    }
}

} // namespace

void wait(State at) {
    Fiber *self = block.current;
    block.state[self->thread] = at;
    block.fiber[self->thread] = self;
    metrix_switch(&self->sp, block.scheduler);
}

uint64_t exchange(uint64_t value, int mask) {
    int self = block.current->thread, other = (self & ~31) | ((self & 31) ^ mask);
    auto &slots = block.slots[block.parity[self] ^= 1];
    slots[self] = value;
    wait(AtWarp);
    return other < block.threads ? slots[other] : value;
}

void fail(int error) {
    failure = error;
    siglongjmp(escape, 1);
}

int run(const Grid &g, void (*body)(void *), void *data, bool reverse) {
    block.geometry = g;
    block.body = body;
    block.data = data;
    block.reverse = reverse;
    block.threads = int(g.block[0] * g.block[1] * g.block[2]);
    block.fiber.resize(block.threads);
    block.slots[0].resize(block.threads);
    block.slots[1].resize(block.threads);
    blockDim = {g.block[0], g.block[1], g.block[2]};
    gridDim = {g.grid[0], g.grid[1], g.grid[2]};
    failure = 0;
    launching = pthread_self();
    struct sigaction action = {};
    action.sa_sigaction = onFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &previous);
    if (sigsetjmp(escape, 1) == 0) {
        const uint64_t blocks = uint64_t(g.grid[0]) * g.grid[1] * g.grid[2];
        for (uint64_t i = 0; i < blocks; i++) {
            uint64_t b = reverse ? blocks - 1 - i : i;
            blockIdx = {unsigned(b % g.grid[0]), unsigned(b / g.grid[0] % g.grid[1]), unsigned(b / g.grid[0] / g.grid[1])};
            runBlock();
        }
    } else {
        abandon();
    }
    sigaction(SIGSEGV, &previous, nullptr);
    return failure;
}

} // namespace emulator

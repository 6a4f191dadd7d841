// Memory of the emulated card: host memory, a mapping of its own for every block, with guards on both sides that
// cannot be touched and are so wide that a kernel which strides out of its buffer meets them. A block ends where the
// far guard begins, but for the bytes that make its size a multiple of 256; those are checked.
//
//	| guard | ... unused | block | < 256 bytes of 0xff | guard |
#include <cstring>
#include <map>
#include <sys/mman.h>

#include "internal.h"

namespace emulator {

namespace {

constexpr size_t page = 4096, guard = 64 << 20, alignment = 256;
constexpr unsigned char poison = 0xff;

struct Entry {
    size_t size, padded;
    char *mapping;
    size_t mapped;
    bool pinned;
};

std::map<uintptr_t, Entry> entries; // by first byte
size_t deviceBytes;

size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// at returns the entry whose mapping holds p.
std::map<uintptr_t, Entry>::iterator at(const void *p) {
    auto it = entries.upper_bound(uintptr_t(p) + guard + page); // the near guard lies below the first byte
    while (it != entries.begin()) {
        --it;
        const uintptr_t first = uintptr_t(it->second.mapping), last = first + it->second.mapped;
        if (uintptr_t(p) >= first && uintptr_t(p) < last)
            return it;
        if (uintptr_t(p) >= last)
            break; // mappings are disjoint and in the order of their blocks
    }
    return entries.end();
}

bool intact(uintptr_t first, const Entry &e) {
    for (size_t i = e.size; i < e.padded; i++)
        if (((unsigned char *)first)[i] != poison)
            return false;
    return true;
}

} // namespace

void *allocate(size_t size, bool pinned) {
    if (!pinned && deviceBytes + size > capacity())
        return nullptr;
    size_t padded = up(size, alignment), body = up(padded, page), mapped = body + 2 * guard;
    char *mapping = (char *)mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return nullptr;
    mprotect(mapping + guard, body, PROT_READ | PROT_WRITE);
    char *first = mapping + guard + body - padded;
    memset(first, poison, padded);
    entries[uintptr_t(first)] = {size, padded, mapping, mapped, pinned};
    if (!pinned)
        deviceBytes += size;
    return first;
}

int release(void *p, bool pinned) {
    auto it = entries.find(uintptr_t(p));
    if (it == entries.end() || it->second.pinned != pinned)
        return InvalidValue;
    bool whole = intact(it->first, it->second);
    if (!pinned)
        deviceBytes -= it->second.size;
    munmap(it->second.mapping, it->second.mapped);
    entries.erase(it);
    return whole ? Success : IllegalAddress;
}

bool range(const void *p, void **start, size_t *size) {
    auto it = entries.upper_bound(uintptr_t(p));
    if (it == entries.begin())
        return false;
    --it;
    if (it->second.pinned || uintptr_t(p) >= it->first + it->second.size)
        return false;
    *start = (void *)it->first;
    *size = it->second.size;
    return true;
}

Where find(const void *p, size_t size) {
    auto it = entries.upper_bound(uintptr_t(p));
    if (it == entries.begin())
        return Where::Nowhere;
    --it;
    if (uintptr_t(p) + size > it->first + it->second.size || uintptr_t(p) >= it->first + it->second.size)
        return Where::Nowhere;
    return it->second.pinned ? Where::Pinned : Where::Device;
}

bool guarded(const void *p) { return at(p) != entries.end(); }

int check() {
    for (auto &[first, e] : entries)
        if (!intact(first, e))
            return IllegalAddress;
    return Success;
}

size_t capacity() {
    long limit = failing("oom");
    return limit > 0 ? size_t(limit) : size_t(option("METRIX_EMULATOR_MEMORY", 4L << 30));
}

size_t used() { return deviceBytes; }

size_t blocks(bool pinned) {
    size_t n = 0;
    for (auto &[first, e] : entries)
        n += e.pinned == pinned;
    return n;
}

void releaseAll() {
    for (auto &[first, e] : entries)
        munmap(e.mapping, e.mapped);
    entries.clear();
    deviceBytes = 0;
}

} // namespace emulator

// Tasks on XLA's threads, and the memory that each thread keeps for its intermediate values.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "vectors.h"
#include "xla/ffi/api/ffi.h"

namespace digits {

using Pool = xla::ffi::ThreadPool;

// The compiler decides for each copy of the code which products and sums it contracts, and so how they are rounded. All
// threads must run the same copy: otherwise the bits would depend on which of them has computed what.
template <typename F>
NOINLINE void call(const F& f, int64_t task) {
  f(task);
}

// Runs f(0), ..., f(tasks - 1) on the caller's thread and on those of the pool that are free.
template <typename F>
void parallel(Pool& pool, int64_t tasks, const F& f) {
  struct State {
    std::atomic<int64_t> next{0}, running{0};
    std::mutex mutex;
    std::condition_variable idle;
  };
  auto state = std::make_shared<State>();
  const F* body = &f;
  auto work = [state, body, tasks] {
    for (int64_t i; (i = state->next.fetch_add(1)) < tasks;) call(*body, i);
  };
  int64_t helpers = std::min<int64_t>(pool.num_threads(), tasks) - 1;
  for (int64_t i = 0; i < helpers; ++i) {
    pool.Schedule([state, work, tasks] {
      state->running.fetch_add(1);
      if (state->next.load() < tasks) work();  // A helper that comes too late must not touch the body.
      {
        std::lock_guard<std::mutex> lock(state->mutex);
        state->running.fetch_sub(1);
      }
      state->idle.notify_one();
    });
  }
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->idle.wait(lock, [&] { return state->running.load() == 0; });
}

// Memory of the calling thread that stays allocated; a slot for each purpose, because several are in use at once.
enum Slot { kShared, kImage, kSums, kRows, kLine, kSlots };
inline float* scratch(Slot slot, int64_t size) {
  static thread_local std::vector<float> buffers[kSlots];
  auto& b = buffers[slot];
  if (int64_t(b.size()) < size + 96) b.resize(size + 96);  // Aligned, and with room for a vector beyond the end.
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(b.data()) + 63) & ~uintptr_t(63));
}

}  // namespace digits

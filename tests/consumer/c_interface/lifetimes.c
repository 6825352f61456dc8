/* How libraries come and go in a process: lifetimes CASE LIBRARY [SECOND_LIBRARY] ARTIFACT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ganglion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(10);                                                       \
    }                                                                 \
  } while (0)

typedef struct library {
  void* opened;
  const char* (*version)(void);
  ganglion_status (*load)(const char*, const ganglion_load_options*, ganglion_policy**, char*, size_t);
  ganglion_status (*destroy)(ganglion_policy*);
  ganglion_status (*get_info)(const ganglion_policy*, ganglion_policy_info*);
  ganglion_status (*step)(ganglion_policy*, const float*, size_t, float*, size_t);
  ganglion_status (*open_recorder)(const char*, const ganglion_recorder_options*, ganglion_recorder**, char*, size_t);
  ganglion_status (*flush)(ganglion_recorder*, char*, size_t);
  ganglion_status (*attach)(ganglion_policy*, ganglion_recorder*, char*, size_t);
} library;

static char sentence[1000];

static library opened_as(const char* path, int visible) {
  library found;
  memset(&found, 0, sizeof(found));
  found.opened = dlopen(path, RTLD_NOW | visible);
  if (found.opened == NULL) fprintf(stderr, "%s\n", dlerror());
  REQUIRE(found.opened != NULL);
  /* POSIX: a pointer of dlsym may be one to a function; ISO C cannot write it. */
  *(void**)&found.version = dlsym(found.opened, "ganglion_version");
  *(void**)&found.load = dlsym(found.opened, "ganglion_policy_load");
  *(void**)&found.destroy = dlsym(found.opened, "ganglion_policy_destroy");
  *(void**)&found.get_info = dlsym(found.opened, "ganglion_policy_get_info");
  *(void**)&found.step = dlsym(found.opened, "ganglion_policy_step");
  *(void**)&found.open_recorder = dlsym(found.opened, "ganglion_recorder_open");
  *(void**)&found.flush = dlsym(found.opened, "ganglion_recorder_flush");
  *(void**)&found.attach = dlsym(found.opened, "ganglion_policy_attach");
  return found;
}

static library opened(const char* path) { return opened_as(path, RTLD_LOCAL); }

static ganglion_policy* loaded(const library* in, const char* path) {
  ganglion_policy* policy = NULL;
  const ganglion_status status = in->load(path, NULL, &policy, sentence, sizeof(sentence));
  if (status != GANGLION_OK) fprintf(stderr, "%s\n", sentence);
  REQUIRE(status == GANGLION_OK && policy != NULL);
  return policy;
}

/* The first element of the action after some steps. */
static float flown(const library* in, ganglion_policy* policy) {
  float observation[64], action[64] = {0};
  ganglion_policy_info info;
  memset(&info, 0, sizeof(info));
  info.size = sizeof(info);
  REQUIRE(in->get_info(policy, &info) == GANGLION_OK);
  REQUIRE(info.batch * info.observation_size <= 64 && info.batch * info.action_size <= 64);
  for (int i = 0; i < 64; ++i) observation[i] = 0.1F;
  for (int i = 0; i < 10; ++i) {
    REQUIRE(in->step(policy, observation, info.batch * info.observation_size, action, info.batch * info.action_size) ==
            GANGLION_OK);
  }
  return action[0];
}

static long pages(void) {
  long size = 0;
  FILE* const file = fopen("/proc/self/statm", "r");
  REQUIRE(file != NULL && fscanf(file, "%ld", &size) == 1);
  fclose(file);
  return size;
}

/* Two copies, each with a policy of its own, step in turn. */
static int two_copies(const char* one, const char* other, int visible, const char* artifact) {
  const library first = opened_as(one, visible), second = opened_as(other, visible);
  REQUIRE(first.opened != second.opened && (void*)(size_t)first.step != (void*)(size_t)second.step);
  printf("%s %s\n", first.version(), second.version());
  ganglion_policy* const a = loaded(&first, artifact);
  ganglion_policy* const b = loaded(&second, artifact);
  const float once = flown(&first, a);
  REQUIRE(flown(&second, b) == once);
  REQUIRE(flown(&first, a) == flown(&second, b));
  REQUIRE(second.destroy(b) == GANGLION_OK && dlclose(second.opened) == 0);
  (void)flown(&first, a); /* lives on where the other one is gone */
  return first.destroy(a);
}

static int thousand_times(const char* path, const char* artifact) {
  long before = 0;
  for (int i = 0; i < 1000; ++i) {
    const library in = opened(path);
    ganglion_policy* const policy = loaded(&in, artifact);
    ganglion_policy* none = NULL;
    REQUIRE(in.load("/nowhere/at.all", NULL, &none, sentence, sizeof(sentence)) == GANGLION_ERROR_FILE_NOT_FOUND);
    (void)flown(&in, policy);
    REQUIRE(in.destroy(policy) == GANGLION_OK);
    REQUIRE(dlclose(in.opened) == 0);
    REQUIRE(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL); /* it is gone */
    if (i == 100) before = pages();
  }
  const long growth = pages() - before;
  printf("%ld pages more after 900 times\n", growth);
  return growth > 16; /* less than one byte of a page each time */
}

static library shared_library;
static void* step_there(void* policy) {
  static float seen;
  seen = flown(&shared_library, policy);
  return &seen;
}

static int other_thread(const char* path, const char* artifact) {
  shared_library = opened(path);
  ganglion_policy* const here = loaded(&shared_library, artifact);
  ganglion_policy* const there = loaded(&shared_library, artifact);
  pthread_t thread;
  void* seen = NULL;
  REQUIRE(pthread_create(&thread, NULL, step_there, there) == 0 && pthread_join(thread, &seen) == 0);
  REQUIRE(*(float*)seen == flown(&shared_library, here));
  return shared_library.destroy(here) || shared_library.destroy(there);
}

static int forked(const char* path, const char* artifact) {
  const library in = opened(path);
  ganglion_policy* const policy = loaded(&in, artifact);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(30);
    (void)flown(&in, policy);
    REQUIRE(in.destroy(policy) == GANGLION_OK);
    ganglion_policy* const fresh = loaded(&in, artifact);
    (void)flown(&in, fresh);
    exit(in.destroy(fresh)); /* with whatever is done at exit */
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  (void)flown(&in, policy);
  return in.destroy(policy);
}

/* Leaves by exit while the recorder's thread runs and nothing is closed. */
static int recorder_at_exit(const char* path, const char* recording, const char* artifact) {
  const library in = opened(path);
  ganglion_policy* const policy = loaded(&in, artifact);
  ganglion_recorder* recorder = NULL;
  REQUIRE(in.open_recorder(recording, NULL, &recorder, sentence, sizeof(sentence)) == GANGLION_OK);
  REQUIRE(in.attach(policy, recorder, sentence, sizeof(sentence)) == GANGLION_OK);
  for (int i = 0; i < 1000; ++i) (void)flown(&in, policy);
  REQUIRE(in.flush(recorder, sentence, sizeof(sentence)) == GANGLION_OK);
  for (int i = 0; i < 1000; ++i) (void)flown(&in, policy);
  exit(0);
}

int main(int count, char** words) {
  if (count == 5 && strcmp(words[1], "copies") == 0) return two_copies(words[2], words[3], RTLD_LOCAL, words[4]);
  if (count == 5 && strcmp(words[1], "visible") == 0) return two_copies(words[2], words[3], RTLD_GLOBAL, words[4]);
  if (count == 4 && strcmp(words[1], "thousand") == 0) return thousand_times(words[2], words[3]);
  if (count == 4 && strcmp(words[1], "thread") == 0) return other_thread(words[2], words[3]);
  if (count == 4 && strcmp(words[1], "fork") == 0) return forked(words[2], words[3]);
  if (count == 5 && strcmp(words[1], "exit") == 0) return recorder_at_exit(words[2], words[3], words[4]);
  return 2;
}

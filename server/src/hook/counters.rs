//! The hook process's counters in its segment, by name.

crate::counters::words! {
    PENDING = "hook_pending",
    SENT = "hook_sent",
    SENT_AGAIN = "hook_sent_again",
    ANSWERED = "hook_answered",
    FAILED = "hook_failed",
    RESULTS_TAKEN = "hook_results_taken",
    GONE = "hook_gone",
    BAD_LINES = "hook_bad_lines",
    STRAY_ANSWERS = "hook_stray_answers",
    PROGRAM_STARTS = "hook_program_starts",
    WEB_FAILURES = "hook_web_failures",
    POSTS_PUT_OFF = "hook_posts_put_off",
    MIRROR_ERRORS = "hook_mirror_errors",
}

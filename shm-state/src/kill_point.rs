//! Named places at which a test may kill the process.

/// Kills this process with SIGKILL when the environment variable `RINGFORT_KILL_POINT` names the place. Compiled in only with
/// the feature `kill-points`.
#[macro_export]
macro_rules! kill_point {
    ($name:literal) => {
        #[cfg(feature = "kill-points")]
        $crate::kill_point::reached($name);
    };
}

/// Kills this process if the environment says so.
#[cfg(feature = "kill-points")]
pub fn reached(name: &str) {
    if std::env::var("RINGFORT_KILL_POINT").is_ok_and(|wanted| wanted == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

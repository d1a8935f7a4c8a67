//! The promises about shared memory, looked at from outside: who may write what, that reading needs nobody's help, and that
//! nothing leaks.

use std::fs;
use std::os::unix::fs::MetadataExt;

use ringfort_client::JoinTarget;
use ringfort_tests::crowd::named;
use ringfort_tests::{Crowd, Instance, match_named, pid_of, processes, send_signal};
use rustix::process::{Pid, Signal};

/// Matches of the leak test, and how many of them live at one time.
const MATCHES: usize = 40;
const AT_ONCE: usize = 10;

/// Permissions with which a process has mapped a segment.
fn mappings(pid: Pid, path: &str) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", pid.as_raw_nonzero())).expect("a process of ours");
    let of_it = maps.lines().filter(|line| line.ends_with(path));
    of_it.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
}

/// Access modes (`O_ACCMODE`) of the descriptors that a process has of a segment.
fn access_modes(pid: Pid, path: &str) -> Vec<u32> {
    let (pid, segment) = (pid.as_raw_nonzero(), fs::metadata(path).expect("a segment"));
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours").flatten();
    let of_it = descriptors.filter(|descriptor| {
        let file = fs::metadata(descriptor.path());
        file.is_ok_and(|file| (file.dev(), file.ino()) == (segment.dev(), segment.ino()))
    });
    of_it
        .map(|descriptor| {
            let number = descriptor.file_name().into_string().expect("a number");
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).expect("an open descriptor");
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("its flags");
            u32::from_str_radix(flags.trim(), 8).expect("an octal number") & 0o3
        })
        .collect()
}

#[test]
fn front_ends_can_only_read_world_and_directory() {
    let instance = Instance::start(&[]);
    let mut crowd = Crowd::new(instance.address());
    crowd.enter("ada", JoinTarget::Any);
    let status = crowd.during(|| instance.status());
    for segment in ["world", "directory"] {
        let path = format!("/dev/shm/ringfort.{}.{segment}", instance.name());
        for frontend in processes(&status, "frontend") {
            let mapped = mappings(pid_of(frontend), &path);
            assert!(!mapped.is_empty(), "{path} is not mapped");
            assert!(mapped.iter().all(|access| access.starts_with("r-") && access.ends_with('s')), "{path}: {mapped:?}");
            // A segment may stay mapped when its descriptor is closed; none may be open for more than reading.
            let open = access_modes(pid_of(frontend), &path);
            assert!(open.iter().all(|mode| *mode == 0), "{path}: {open:?}");
        }
        // The same look at a process that may write shows that it would be seen.
        let writer = if segment == "world" { processes(&status, "sim")[0] } else { processes(&status, "supervisor")[0] };
        assert!(mappings(pid_of(writer), &path).iter().any(|access| access.starts_with("rw")), "{path}");
    }
    let directory = format!("/dev/shm/ringfort.{}.directory", instance.name());
    // A front-end has what it was passed, to hand it on, and its own of it; the supervisor what it hands on, its own, and its recorder's.
    for (role, slot, modes) in [("frontend", 0, vec![0, 0]), ("supervisor", 0, vec![0, 2, 2])] {
        let mut open = access_modes(pid_of(processes(&status, role)[slot]), &directory);
        open.sort_unstable();
        assert_eq!(open, modes, "{role}");
    }
}

#[test]
fn status_answers_while_everybody_is_stopped_and_play_goes_on_afterwards() {
    let instance = Instance::start(&[]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob"].map(|name| crowd.enter(name, JoinTarget::Any));
    let all = crowd.during(|| instance.status()["processes"].as_array().expect("processes").clone());
    all.iter().for_each(|process| send_signal(pid_of(process), Signal::STOP));
    crowd.during(|| {
        let stopped = instance.wait_for("all are stopped", |status| {
            status["processes"].as_array().is_some_and(|all| all.iter().all(|process| process["state"] == "stopped"))
        });
        assert_eq!(match_named(&stopped, "match-1")["sessions"], 2);
        assert_eq!(match_named(&instance.status(), "match-1")["tick"], match_named(&stopped, "match-1")["tick"]);
        instance.check_memory();
    });
    all.iter().for_each(|process| send_signal(pid_of(process), Signal::CONT));
    crowd.check_plays_on(&players);
}

#[test]
fn nothing_is_found_under_load() {
    let instance = Instance::start(&["--matches", "3"]);
    let mut crowd = Crowd::new(instance.address());
    let players: Vec<usize> = (0..12).map(|n| crowd.enter("player", named(&format!("match-{}", n % 3 + 1)))).collect();
    crowd.during(|| (0..10).for_each(|_| instance.check_memory()));
    crowd.check_plays_on(&players);
}

#[test]
fn matches_that_have_ended_leave_nothing_behind() {
    // Room for the matches of two rounds: those that have ended linger while the next are made.
    let instance = Instance::start(&["--matches", "0", "--arena-mib", "48"]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob", "cyd"].map(|name| crowd.connect(name));
    let before = crowd.during(|| instance.status())["arena"]["extents_used"].clone();
    for round in 0..MATCHES / AT_ONCE {
        let names: Vec<String> = (0..AT_ONCE).map(|n| format!("m{round}-{n}")).collect();
        crowd.during(|| {
            names.iter().for_each(|name| drop(instance.done(&["matches", "create", name])));
        });
        for (player, name) in players.into_iter().zip(&names) {
            crowd.join(player, named(name));
            crowd.until_live(player);
        }
        crowd.check_plays_on(&players);
        crowd.during(|| names.iter().for_each(|name| drop(instance.done(&["matches", "end", name]))));
        crowd.until("all are told", |crowd| players.iter().all(|player| crowd.match_is_over(*player)));
    }
    let gone = |status: &serde_json::Value| status["matches"].as_array().is_some_and(Vec::is_empty);
    let after = crowd.during(|| instance.wait_for("the matches are gone", gone));
    assert_eq!(after["arena"]["extents_used"], before);
    instance.check_memory();
}

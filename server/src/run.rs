//! The whole command line of a game's server: parse, carry out, tell. A command that fails prints one sentence on stderr.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::FromArgMatches;
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::Role as SharedRole;
use ringfort_shm_state::process::ProcessId;
use serde_json::json;

use crate::admin::{self, AdminError};
use crate::attach::{AttachError, Attached};
use crate::audit::{self, AuditArgs, AuditError};
use crate::auth::{self, IssueError, KeyError, Signing};
use crate::cli::{
    Cli, Command, DeadLettersAction, DownArgs, DrainWhat, EXIT_DONE, EXIT_FAILED, FrontendsAction, MatchesAction, Output, Role,
    SessionsAction, SimsAction, TokenAction, UpArgs, WorkerArgs, ZonesAction, collect_options,
};
use crate::config::{Config, ConfigError, DEFAULTS_TOML, Hooks, instance_name};
use crate::dead_letters::{self, DeadLettersError};
use crate::describe;
use crate::frontend::{self, FrontendError};
use crate::game::Game;
use crate::hook::{self, HookError};
use crate::limits::{DOWN_LOCK_MS, DOWN_LOOK_MS, SUPERVISOR_EXIT_MS};
use crate::log_level::LogLevelArgs;
use crate::logging::{self, LoggingError, Source};
use crate::look::sessions::SessionArgs;
use crate::look::{self, LookError, Paper, Reading, Shown, print_json};
use crate::manual;
use crate::metrics;
use crate::run_dir::{LockError, RunDir, RunDirError};
use crate::saved::{self, SaveArgs, SaveError};
use crate::set::{self, SetArgs};
use crate::sim::{self, SimError};
use crate::status::{self, ShowError, Status};
use crate::supervisor::control::{self, ControlError, Request, Response};
use crate::supervisor::spawn::CONFIG_VARIABLE;
use crate::supervisor::{self, UpError};
use crate::top;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Up(#[from] UpError),
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The supervisor's own sentence.
    #[error("{sentence}")]
    Refused { sentence: String },
    /// Nobody waits for the players any more.
    #[error(
        "the supervisor of instance \"{instance}\" has died, and with it the wish to stop when the players have gone; `ringfort up` goes on with \
         what runs, `ringfort down --instance {instance}` stops it"
    )]
    SupervisorDied { instance: String },
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(transparent)]
    Top(#[from] top::TopError),
    #[error(transparent)]
    Show(#[from] ShowError),
    #[error(transparent)]
    Sizes(#[from] describe::SizesError),
    #[error(transparent)]
    DeadLetters(#[from] DeadLettersError),
    #[error(transparent)]
    New(#[from] crate::new::NewError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("there is no key to sign with; name its file with --key, or set `auth.key` in the configuration")]
    NoSigningKey,
    #[error("`ringfort worker` is started by `ringfort up` only")]
    NotAWorker,
    #[error(transparent)]
    Logging(#[from] LoggingError),
    #[error(transparent)]
    Sim(#[from] SimError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Man(#[from] manual::ManError),
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// The `main` of a game's server: `fn main() -> ExitCode { ringfort::main::<MyGame>() }`.
pub fn main<G: Game>() -> ExitCode {
    main_with::<G>(std::env::args_os())
}

/// [`main`] with these arguments, the program's name first, for a program that has commands of its own. It must call this also when
/// the variable [`CONFIG_VARIABLE`] is set: a supervisor starts its workers as the same program.
pub fn main_with<G: Game>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = manual::grammar().get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match dispatch::<G>(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // A worker's log is what its supervisor points to, and it goes to stderr as well.
            if matches!(error, RunError::Sim(_) | RunError::Frontend(_) | RunError::Hook(_) | RunError::Admin(_)) {
                tracing::error!("{error}");
            } else {
                look::complain(&error);
            }
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn dispatch<G: Game>(cli: Cli) -> Result<u8, RunError> {
    let file = cli.config.as_deref();
    let named = || instance_name(cli.instance.as_deref(), file);
    match cli.command {
        Command::Up(flags) => up::<G>(file, cli.instance.as_deref(), &flags),
        Command::Down(DownArgs { drain: true, timeout }) => drain_down(&named()?, timeout),
        Command::Down(_) => down::<G>(file, &named()?),
        Command::Status(reading) => look(&named()?, &reading, |attached| Ok(Status::look(attached))),
        Command::Tail(args) => {
            look::tail::tail(&named()?, &args)?;
            Ok(EXIT_DONE)
        }
        Command::Top(args) => {
            top::run(&named()?, &args)?;
            Ok(EXIT_DONE)
        }
        Command::Audit(AuditArgs { limit, json }) => {
            let log = audit::read(&kept(file, &named()?, Hooks::audit_file)?, limit)?;
            if json {
                print_json(&log)
            } else {
                print(&log.text(&Paper::stdout()))
            }
            Ok(EXIT_DONE)
        }
        Command::LogLevel(LogLevelArgs { level, role, output }) => operate(&named()?, &Request::LogLevel { level, role }, output),
        Command::Metrics(args) => {
            metrics::show(&named()?, &args)?;
            Ok(EXIT_DONE)
        }
        Command::Completions(args) => {
            manual::completions(&args);
            Ok(EXIT_DONE)
        }
        Command::Man(args) => {
            let written = manual::man(&args)?;
            print(&format!("{written} pages are written to {}\n", args.directory.display()));
            Ok(EXIT_DONE)
        }
        Command::Matches { action, reading } => matches(&named()?, action.unwrap_or(MatchesAction::List(reading))),
        Command::Sessions { action, reading } => sessions(&named()?, action.unwrap_or(SessionsAction::List(reading))),
        Command::DeadLetters { action } => dead_letters(file, cli.instance.as_deref(), action),
        Command::Zones { action } => zones(&named()?, action),
        Command::Sims { action: SimsAction::Scale { sims, output } } => operate(&named()?, &Request::SimsScale { sims }, output),
        Command::Drain { what: DrainWhat::Sim { slot, output } } => operate(&named()?, &Request::DrainSim { sim: slot }, output),
        Command::Drain { what: DrainWhat::Frontend { slot, output } } => {
            operate(&named()?, &Request::DrainFrontend { frontend: slot }, output)
        }
        Command::Frontends { action: FrontendsAction::Scale { frontends, output } } => {
            operate(&named()?, &Request::FrontendsScale { frontends }, output)
        }
        Command::Upgrade { binary, output } => {
            // The supervisor has a working directory of its own.
            let binary = std::path::absolute(&binary).unwrap_or(binary);
            operate(&named()?, &Request::Upgrade { binary }, output)
        }
        Command::World(command) => Ok(if look::carry_out(&named()?, &command)? { EXIT_FAILED } else { EXIT_DONE }),
        Command::Set(args) => set(&named()?, &args),
        Command::Token { action } => token(file, cli.instance.as_deref(), action),
        Command::New { name, path } => {
            print(&crate::new::create(Path::new(""), &name, path.as_deref())?);
            Ok(EXIT_DONE)
        }
        Command::Config(_) => {
            print(DEFAULTS_TOML);
            Ok(EXIT_DONE)
        }
        Command::State(command) => Ok(if look::state::carry_out(&named()?, &command)? { EXIT_FAILED } else { EXIT_DONE }),
        Command::Save(SaveArgs { file, force, output }) => {
            let saved = saved::save(&named()?, &file, force)?;
            if output.json {
                print_json(&saved)
            } else {
                print(&saved.to_text())
            }
            Ok(EXIT_DONE)
        }
        Command::Describe(_) => {
            let sizes = describe::read_sizes(std::io::stdin().lock())?;
            print(&format!("{}\n", json!(describe::describe::<G>(&sizes))));
            Ok(EXIT_DONE)
        }
        Command::Worker(worker) => run_worker::<G>(worker),
    }
}

fn up<G: Game>(file: Option<&Path>, instance: Option<&str>, flags: &UpArgs) -> Result<u8, RunError> {
    supervisor::up::<G>(Config::effective(file, instance, flags)?, flags.fresh)?;
    Ok(EXIT_DONE)
}

fn run_worker<G: Game>(worker: WorkerArgs) -> Result<u8, RunError> {
    let json = std::env::var(CONFIG_VARIABLE).map_err(|_| RunError::NotAWorker)?;
    let config = Config::from_json(&json)?;
    let run_dir = RunDir::open(&config.instance)?;
    let WorkerArgs { role, slot } = worker;
    logging::start(Source::Worker(role, slot), config.log_level, &run_dir.worker_log(role, slot))?;
    match role {
        Role::Sim => match sim::run::<G>(&config.instance, slot, &config)? {},
        Role::Admin => match admin::run(&config.instance, slot, &config)? {},
        Role::Hook => match hook::run::<G>(&config.instance, slot, &config)? {},
        Role::Frontend => match frontend::run::<G>(&config.instance, slot, &config)? {},
    }
}

fn down<G: Game>(file: Option<&Path>, instance: &str) -> Result<u8, RunError> {
    let supervisor = Attached::open(instance).ok().and_then(|attached| {
        let directory = Directory::new(&attached.directory);
        let entry = directory.workers().find(|entry| entry.role == SharedRole::Supervisor as u32)?;
        Some(ProcessId { pid: entry.pid, start_time: entry.start_time })
    });
    let give_up = Instant::now() + Duration::from_millis(DOWN_LOCK_MS);
    let sentence = loop {
        let error = match ask(instance, &Request::Down) {
            Ok((sentence, _)) => break sentence,
            Err(RunError::Control(error @ ControlError::NotRunning { .. })) => error,
            Err(error) => return Err(error),
        };
        // Its workers may have outlived it.
        let config = Config { instance: instance.to_owned(), ..Config::load(file)? };
        match supervisor::stop_orphans::<G>(config) {
            Ok(true) => break format!("instance \"{instance}\", which had no supervisor, has stopped"),
            Ok(false) => return Err(error.into()),
            // The next supervisor has taken them on by now, and listens soon.
            Err(UpError::Lock(LockError::Held { .. } | LockError::HeldElsewhere { .. })) if Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(DOWN_LOOK_MS));
            }
            Err(error) => return Err(error.into()),
        }
    };
    // It answers just before it exits. Whoever starts the instance again right after us finds its lock free.
    let until = Instant::now() + Duration::from_millis(SUPERVISOR_EXIT_MS);
    while supervisor.is_some_and(ProcessId::is_alive) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
    print(&format!("{sentence}\n"));
    Ok(EXIT_DONE)
}

/// Asks the instance to stop when its players have gone, and tells how many are left until then. Whoever interrupts this leaves it to the instance.
fn drain_down(instance: &str, timeout_s: Option<u32>) -> Result<u8, RunError> {
    let supervisor = || {
        let attached = Attached::open(instance).ok()?;
        let entry = Directory::new(&attached.directory).workers().find(|entry| entry.role == SharedRole::Supervisor as u32)?;
        Some(ProcessId { pid: entry.pid, start_time: entry.start_time })
    };
    let supervisor = supervisor();
    let (sentence, _) = ask(instance, &Request::DownDrain { timeout_s })?;
    print(&format!("{sentence}; `ringfort down` stops it at once\n"));
    let mut told = None;
    while supervisor.is_some_and(ProcessId::is_alive) {
        let left = Status::of(instance).ok().map(|status| status.sessions);
        if let Some(left) = left.filter(|left| told != Some(*left)) {
            eprintln!("{left} sessions are left");
            told = Some(left);
        }
        std::thread::sleep(Duration::from_millis(DOWN_LOOK_MS));
    }
    // One that stops removes its segments before it ends.
    if Attached::open(instance).is_ok() {
        return Err(RunError::SupervisorDied { instance: instance.to_owned() });
    }
    print(&format!("instance \"{instance}\" has stopped\n"));
    Ok(EXIT_DONE)
}

fn matches(instance: &str, action: MatchesAction) -> Result<u8, RunError> {
    match action {
        MatchesAction::List(reading) => look(instance, &reading, |attached| Ok(Status::look(attached).into_matches())),
        MatchesAction::Create { name, game_options, private, spectators, idle_minutes, output } => {
            let options = collect_options(&game_options);
            let request = Request::MatchesCreate { name: name.clone(), options, private, spectators, idle_minutes };
            change_match(instance, &name, &request, output)
        }
        MatchesAction::Show { name, code, reading } => {
            look(instance, &reading, |attached| Ok(status::show(attached, &name, code)?))
        }
        MatchesAction::Resume { name, output } => {
            change_match(instance, &name, &Request::MatchesResume { name: name.clone() }, output)
        }
        MatchesAction::End { name, output } => change_match(instance, &name, &Request::MatchesEnd { name: name.clone() }, output),
    }
}

/// A file of an instance that outlives it: where the configuration says that is named, else where the instance has noted it, else where it would be
/// if it were started here.
fn kept(file: Option<&Path>, instance: &str, which: fn(&Hooks, &str) -> PathBuf) -> Result<PathBuf, RunError> {
    let noted = RunDir::results_of(instance).filter(|_| file.is_none());
    let hooks = match noted {
        Some(results) => Hooks { results: Some(results), ..Hooks::default() },
        None => Config::load(file)?.hooks,
    };
    Ok(which(&hooks, instance))
}

fn dead_letters(file: Option<&Path>, instance: Option<&str>, action: DeadLettersAction) -> Result<u8, RunError> {
    let letters = dead_letters::read(&kept(file, &instance_name(instance, file)?, Hooks::dead_letters_file)?)?;
    match action {
        DeadLettersAction::List { only, output: Output { json: true } } => print_json(&letters.of(only.as_deref())),
        DeadLettersAction::List { only, output: Output { json: false } } => print(&letters.of(only.as_deref()).to_text()),
        DeadLettersAction::Show { number, output: Output { json: true } } => print_json(letters.number(number)?),
        DeadLettersAction::Show { number, output: Output { json: false } } => print(&letters.number(number)?.to_text()),
    }
    Ok(EXIT_DONE)
}

fn token(file: Option<&Path>, instance: Option<&str>, action: TokenAction) -> Result<u8, RunError> {
    match action {
        TokenAction::Key { out, hs256: true } => {
            auth::make_hs256(&out)?;
            print(&format!(
                "{0} signs and verifies: set `auth.key` to it, and give it to nobody but your issuer\n",
                out.display()
            ));
        }
        TokenAction::Key { out, hs256: false } => {
            let public = auth::make_ed25519(&out)?;
            print(&format!("{} signs, keep it to your issuer; set `auth.key` to {}\n", out.display(), public.display()));
        }
        TokenAction::Issue { name, only, minutes, key } => {
            let config = Config::load(file)?;
            let instance = instance_name(instance, file)?;
            let key = Signing::read(&key.or(config.auth.key).ok_or(RunError::NoSigningKey)?)?;
            let (only, issuer) = (only.as_deref(), config.auth.issuer.as_deref());
            let token = auth::issue(&key, auth::Wanted { name: &name, only, minutes, instance: &instance, issuer })?;
            print(&format!("{token}\n"));
        }
    }
    Ok(EXIT_DONE)
}

fn change_match(instance: &str, name: &str, request: &Request, output: Output) -> Result<u8, RunError> {
    let (sentence, id) = ask(instance, request)?;
    let code = match (request, id) {
        (Request::MatchesCreate { private: true, .. }, Some(id)) => status::code_of(instance, id)?,
        _ => None,
    };
    if output.json {
        let mut json = json!({ "id": id, "name": name, "sentence": sentence });
        if let Some(code) = code {
            json["code"] = code.into();
        }
        print_json(&json);
    } else {
        let code = code.map_or(String::new(), |code| format!("; it is joined with the code {code}"));
        print(&format!("{sentence}{code}\n"));
    }
    Ok(EXIT_DONE)
}

fn sessions(instance: &str, action: SessionsAction) -> Result<u8, RunError> {
    let (of, who, id, output) = match action {
        SessionsAction::List(reading) => return look(instance, &reading, |attached| Ok(look::sessions::sessions(attached))),
        SessionsAction::Show(SessionArgs { who, reading }) => {
            return look(instance, &reading, |attached| look::sessions::session(attached, &who));
        }
        SessionsAction::Kick { of, who, id, output } => (of, who, id, output),
    };
    let session = status::find_session(&Attached::open(instance)?, &of, &who, id)?;
    let (sentence, id) = ask(instance, &Request::SessionsKick { name: of.clone(), session: session.session })?;
    if output.json {
        let (session, name) = (session.session, session.name);
        print_json(&json!({ "id": id, "name": of, "session": session, "player": name, "sentence": sentence }));
    } else {
        print(&format!("{sentence}\n"));
    }
    Ok(EXIT_DONE)
}

fn set(instance: &str, args: &SetArgs) -> Result<u8, RunError> {
    let attached = Attached::open(instance)?;
    let wanted = set::prepare(&attached, args)?;
    ask(instance, &Request::Set(wanted.request.clone()))?;
    let outcome = set::wait(&attached, &wanted, args.wait)?;
    if args.output.json {
        print_json(&outcome);
    } else {
        print(&format!("{}\n", outcome.sentence));
    }
    Ok(if outcome.refused() { EXIT_FAILED } else { EXIT_DONE })
}

fn zones(instance: &str, action: ZonesAction) -> Result<u8, RunError> {
    match action {
        ZonesAction::List(reading) => look(instance, &reading, |attached| Ok(status::zones(attached))),
        ZonesAction::Move { of, to, output } => operate(instance, &Request::ZonesMove { name: of, to }, output),
    }
}

/// Planned work on the sims, which is answered when it is done.
fn operate(instance: &str, request: &Request, output: Output) -> Result<u8, RunError> {
    let (sentence, id) = ask(instance, request)?;
    if output.json {
        print_json(&json!({ "id": id, "sentence": sentence }));
    } else {
        print(&format!("{sentence}\n"));
    }
    Ok(EXIT_DONE)
}

/// Carries a reading command out.
fn look<S: Shown>(
    instance: &str,
    reading: &Reading,
    look: impl FnMut(&Attached) -> Result<S, LookError>,
) -> Result<u8, RunError> {
    Ok(if look::read(instance, reading, look)? { EXIT_FAILED } else { EXIT_DONE })
}

/// Sends a request to the supervisor; a refusal is an error.
fn ask(instance: &str, request: &Request) -> Result<(String, Option<u64>), RunError> {
    let socket = RunDir::open(instance)?.control_socket();
    match control::request(instance, &socket, request)? {
        Response::Ok { sentence, match_id } => Ok((sentence, match_id)),
        Response::Error { sentence } => Err(RunError::Refused { sentence }),
        Response::Posted { .. } => Err(RunError::Refused { sentence: "the server answers what was not asked".to_owned() }),
    }
}

fn print(text: &str) {
    let _ = look::print(text);
}

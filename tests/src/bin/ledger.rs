//! A game without players that asks the world outside and counts what it is told: its match ends with the account.

use std::process::ExitCode;

use ringfort::prelude::*;

/// What the match has asked and was told.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    /// Requests made.
    pub asked: u32,
    /// Right answers.
    pub right: u32,
    /// Wrong answers.
    pub wrong: u32,
    /// Requests that the hook failed.
    pub failed: u32,
    /// Requests given up.
    pub timed_out: u32,
    /// Requests that nobody heard.
    pub unheard: u32,
    /// Sum of the numbers of the requests that were answered right.
    pub sum: u32,
    /// Sum of their squares: no two numbers answered twice and one never make the same.
    pub squares: u64,
    /// Whether the match is over.
    pub over: bool,
}

/// The world.
#[derive(State)]
pub struct Ledger {
    /// The account.
    pub account: Global<Account>,
}

/// Nobody plays.
#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Nothing {
    /// Unused.
    #[q(max = 1)]
    pub unused: u8,
}

impl Game for Ledger {
    const HZ: u32 = 50;
    const OPTIONS: &'static [OptionDoc] = &[
        OptionDoc {
            name: "asks",
            doc: "requests to make before the match ends; 0, the default, for a match that only ends when asked",
            kind: OptionKind::Number { min: 0.0, max: 100_000.0, whole: true },
        },
        OptionDoc {
            name: "at_once",
            doc: "requests that wait at the same time; 8 by default",
            kind: OptionKind::Number { min: 1.0, max: 32.0, whole: true },
        },
        OptionDoc { name: "topic", doc: "topic of the requests; echo by default", kind: OptionKind::Text },
        OptionDoc { name: "right", doc: "the right answer; the question again by default", kind: OptionKind::Text },
    ];
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn answer(&mut self, t: &Tick<Self>, answer: &Answer<'_>) {
        let number = answer.id.number() as u32;
        let question = format!("question {number}");
        match answer.body {
            Ok(body) if body == t.option("right").unwrap_or(&question) => {
                self.account.right += 1;
                self.account.sum += number;
                self.account.squares += u64::from(number).pow(2);
            }
            Ok(_) => self.account.wrong += 1,
            Err(AnswerError::Failed(_)) => self.account.failed += 1,
            Err(AnswerError::TimedOut) => self.account.timed_out += 1,
            Err(AnswerError::NoHook) => self.account.unheard += 1,
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        let (asks, at_once) = (t.option_or("asks", 0), t.option_or("at_once", 8));
        let Account { asked, right, wrong, failed, timed_out, unheard, sum, squares, over } = *self.account;
        let told = right + wrong + failed + timed_out + unheard;
        for number in asked + 1..=asks.min(told + at_once) {
            if t.ask(t.option("topic").unwrap_or("echo"), None, &format!("question {number}")).is_ok() {
                self.account.asked += 1;
            }
        }
        if asks > 0 && told == asks && !over {
            let account = format!(
                r#"{{"right":{right},"wrong":{wrong},"failed":{failed},"timed_out":{timed_out},"unheard":{unheard},"sum":{sum},"squares":{squares}}}"#
            );
            self.account.over = t.close_with(&account).is_ok();
        }
    }
}

fn main() -> ExitCode {
    ringfort::main::<Ledger>()
}

//! The language of `--where`: comparisons of fields, joined by `and`, `or`, `not` and parentheses.
//!
//! `hp.hp < 20 and (has(gun) or owner = none)`. On the left stands a field, `owner`, `index` or `alive`; on the right a value of its type.
//! An entity without the column meets no comparison with one of its fields, not even `!=`.

use std::cmp::Ordering;

use ringfort_protocol::Entity;
use ringfort_protocol::schema::{FieldKind, Schema};

use super::names::{Among, BUILT_IN, FieldAt, NameError};
use super::value::{Value, parse_bool, parse_entity};
use crate::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX};

/// Why a condition was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A name that the game does not have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something else was to come.
    #[error(
        "the condition is not understood at {at}: {wanted} was expected, as in \"hp.hp < 20 and (has(gun) or not owner = none)\""
    )]
    Syntax {
        /// What stands there.
        at: String,
        /// What was to come.
        wanted: &'static str,
    },
    /// The value has not the type of what it is compared with.
    #[error("{left} is compared with {wants}, and \"{value}\" is none")]
    Type {
        /// What stands on the left.
        left: String,
        /// What it is compared with.
        wants: &'static str,
        /// What stands on the right.
        value: String,
    },
    /// It has no order.
    #[error("{left} has no order: compare it with = or !=")]
    Order {
        /// What stands on the left.
        left: String,
    },
    /// A vector is two numbers.
    #[error("{left} is a vector: compare {left}.x or {left}.y, or use --near")]
    Vector {
        /// What stands on the left.
        left: String,
    },
    /// Longer or deeper than a condition may be.
    #[error(
        "the condition is longer than {FILTER_BYTES_MAX} bytes, or has more than {FILTER_DEPTH_MAX} parentheses and `not` within one another"
    )]
    TooLong,
}

/// What a condition asks of an entity.
pub trait Subject {
    /// The value of a field; nothing without the column.
    fn field(&self, at: FieldAt) -> Option<Value>;
    /// Whether it has a column.
    fn has(&self, column: usize) -> bool;
    /// The session that owns it, 0 for none.
    fn owner(&self) -> u64;
    /// The name of that session's player.
    fn owner_name(&self) -> Option<&str>;
    /// Its index.
    fn index(&self) -> u32;
    /// Whether it lives.
    fn alive(&self) -> bool;
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// One of them.
    Or(Box<Filter>, Box<Filter>),
    /// The contrary.
    Not(Box<Filter>),
    /// It has a column.
    Has(usize),
    /// A comparison.
    Compare(Left, Op, Value),
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// A field.
    Field(FieldAt),
    /// The owner's id.
    Owner,
    /// The owner's name.
    OwnerName,
    /// The index.
    Index,
    /// Whether it lives.
    Alive,
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in every language")]
pub enum Op {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Op {
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::Unequal => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::More => order == Some(Ordering::Greater),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Filter {
    /// Reads a condition.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, schema };
        let filter = parser.or()?;
        if parser.at < parser.tokens.len() { Err(parser.wrong("`and`, `or` or the end")) } else { Ok(filter) }
    }

    /// Whether an entity meets it.
    pub fn holds(&self, of: &impl Subject) -> bool {
        match self {
            Self::And(a, b) => a.holds(of) && b.holds(of),
            Self::Or(a, b) => a.holds(of) || b.holds(of),
            Self::Not(a) => !a.holds(of),
            Self::Has(column) => of.has(*column),
            Self::Compare(left, op, right) => {
                let value = match *left {
                    Left::Field(at) => of.field(at),
                    Left::Owner => Some(Value::Session(of.owner())),
                    Left::OwnerName => Some(Value::Text(of.owner_name().unwrap_or_default().to_owned())),
                    Left::Index => Some(Value::Unsigned(of.index().into())),
                    Left::Alive => Some(Value::Bool(of.alive())),
                };
                value.is_some_and(|value| op.holds(value.order(right)))
            }
        }
    }

    /// Calls `each` with every column that it looks at.
    pub fn columns(&self, each: &mut impl FnMut(usize)) {
        match self {
            Self::And(a, b) | Self::Or(a, b) => {
                a.columns(each);
                b.columns(each);
            }
            Self::Not(a) => a.columns(each),
            Self::Has(column) => each(*column),
            Self::Compare(Left::Field(at), ..) => each(at.column),
            Self::Compare(..) => {}
        }
    }

    /// Whether it asks who lives: the dead are looked at only then.
    pub fn asks_alive(&self) -> bool {
        match self {
            Self::And(a, b) | Self::Or(a, b) => a.asks_alive() || b.asks_alive(),
            Self::Not(a) => a.asks_alive(),
            Self::Compare(left, ..) => *left == Left::Alive,
            Self::Has(_) => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Open,
    Close,
    Op(Op),
    Word(String),
    Quoted(String),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => write!(f, "\"(\""),
            Self::Close => write!(f, "\")\""),
            Self::Op(_) => write!(f, "the comparison"),
            Self::Word(word) | Self::Quoted(word) => write!(f, "\"{word}\""),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let ops = [("!=", Op::Unequal), ("<=", Op::AtMost), (">=", Op::AtLeast), ("==", Op::Equal)];
        let ops = ops.into_iter().chain([("=", Op::Equal), ("<", Op::Less), (">", Op::More)]);
        let (token, length) = if let Some((word, op)) = ops.into_iter().find(|(word, _)| rest.starts_with(word)) {
            (Token::Op(op), word.len())
        } else if first == '(' || first == ')' {
            (if first == '(' { Token::Open } else { Token::Close }, 1)
        } else if first == '"' || first == '\'' {
            let end = rest[1..].find(first);
            let end = end.ok_or(FilterError::Syntax { at: "a quotation mark".into(), wanted: "another that closes it" })?;
            (Token::Quoted(rest[1..=end].to_owned()), end + 2)
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "()<>=!\"'".contains(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(FilterError::Syntax { at: format!("\"{first}\""), wanted: "a name or a value" });
            }
            (Token::Word(rest[..end].to_owned()), end)
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'s> {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    schema: &'s Schema,
}

impl Parser<'_> {
    fn wrong(&self, wanted: &'static str) -> FilterError {
        let at = self.tokens.get(self.at).map_or("its end".to_owned(), Token::to_string);
        FilterError::Syntax { at, wanted }
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        self.take(&Token::Word(word.to_owned()))
    }

    fn or(&mut self) -> Result<Filter, FilterError> {
        let mut filter = self.and()?;
        while self.word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.and()?));
        }
        Ok(filter)
    }

    fn and(&mut self) -> Result<Filter, FilterError> {
        let mut filter = self.one()?;
        while self.word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            return Err(FilterError::TooLong);
        }
        let filter = if self.word("not") {
            Filter::Not(Box::new(self.one()?))
        } else if self.take(&Token::Open) {
            let inner = self.or()?;
            self.close()?;
            inner
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn close(&mut self) -> Result<(), FilterError> {
        if self.take(&Token::Close) { Ok(()) } else { Err(self.wrong("\")\"")) }
    }

    fn term(&mut self) -> Result<Filter, FilterError> {
        let Some(Token::Word(name)) = self.tokens.get(self.at).cloned() else {
            return Err(self.wrong("the name of a field"));
        };
        self.at += 1;
        if name == "has" && self.take(&Token::Open) {
            let Some(Token::Word(column)) = self.tokens.get(self.at).cloned() else {
                return Err(self.wrong("the name of a column"));
            };
            self.at += 1;
            self.close()?;
            return Ok(Filter::Has(Among::Columns.column(self.schema, &column)?));
        }
        let is_built_in = BUILT_IN.contains(&name.as_str());
        let field = if is_built_in { None } else { Some(Among::Columns.field(self.schema, &name)?) };
        let Some(Token::Op(op)) = self.tokens.get(self.at).cloned() else {
            // Both are yes or no already.
            let is_bool = name == "alive" || field.is_some_and(|at| self.kind(at) == FieldKind::Bool);
            let left = field.map_or(Left::Alive, Left::Field);
            return if is_bool {
                Ok(Filter::Compare(left, Op::Equal, Value::Bool(true)))
            } else {
                Err(self.wrong("= != < <= > or >="))
            };
        };
        self.at += 1;
        let (value, quoted) = match self.tokens.get(self.at).cloned() {
            Some(Token::Word(value)) => (value, false),
            Some(Token::Quoted(value)) => (value, true),
            _ => return Err(self.wrong("a value")),
        };
        self.at += 1;
        self.compare(&name, field, op, &value, quoted)
    }

    fn kind(&self, at: FieldAt) -> FieldKind {
        self.schema.columns[at.column].fields[at.field].kind
    }

    fn compare(&self, name: &str, field: Option<FieldAt>, op: Op, text: &str, quoted: bool) -> Result<Filter, FilterError> {
        let wrong = |wants| FilterError::Type { left: name.to_owned(), wants, value: text.to_owned() };
        let number = || whole(text).or_else(|| text.parse().ok().map(Value::Float)).ok_or_else(|| wrong("a number"));
        let unordered = !matches!(op, Op::Equal | Op::Unequal);
        let truth = || {
            let truth = parse_bool(text).map(Value::Bool).ok_or_else(|| wrong("true or false"))?;
            if unordered { Err(FilterError::Order { left: name.to_owned() }) } else { Ok(truth) }
        };
        let Some(at) = field else {
            return Ok(match name {
                "index" => Filter::Compare(Left::Index, op, number()?),
                "alive" => Filter::Compare(Left::Alive, op, truth()?),
                _ if text == "none" && !quoted => Filter::Compare(Left::Owner, op, Value::Session(0)),
                _ => match text.parse().ok().filter(|_| !quoted) {
                    Some(id) => Filter::Compare(Left::Owner, op, Value::Session(id)),
                    None => Filter::Compare(Left::OwnerName, op, Value::Text(text.to_owned())),
                },
            });
        };
        let value = match self.kind(at) {
            FieldKind::Vec2 if at.half.is_none() => return Err(FilterError::Vector { left: name.to_owned() }),
            FieldKind::Bool => truth()?,
            FieldKind::Entity => {
                let entity: Option<Entity> = parse_entity(text).ok_or_else(|| wrong("an entity, as 7.1, or none"))?;
                if unordered {
                    return Err(FilterError::Order { left: name.to_owned() });
                }
                Value::Entity(entity)
            }
            FieldKind::Text { .. } => Value::Text(text.to_owned()),
            FieldKind::Bytes { .. } => Value::Bytes(hex(text).ok_or_else(|| wrong("bytes in hexadecimal"))?),
            FieldKind::Session if text == "none" => Value::Session(0),
            _ => number()?,
        };
        Ok(Filter::Compare(Left::Field(at), op, value))
    }
}

/// A whole number.
fn whole(text: &str) -> Option<Value> {
    text.parse().ok().map(Value::Unsigned).or_else(|| text.parse().ok().map(Value::Signed))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if digits.len().is_multiple_of(2) { digits.chunks(2).map(pair).collect() } else { None }
}

#[cfg(test)]
#[path = "filter/tests.rs"]
mod tests;

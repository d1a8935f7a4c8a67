//! What the derives refuse, and in which words.

use super::{check_generics, component, input, message, state, timer};
use syn::{DeriveInput, parse_quote};

type Derive = fn(&DeriveInput) -> syn::Result<proc_macro2::TokenStream>;

fn check(derive: Derive, wanted: &str, code: DeriveInput) {
    let result = check_generics(&code).and_then(|()| derive(&code));
    let error = result.expect_err(wanted).to_string();
    assert!(error.contains(wanted), "{error}");
}

#[test]
fn components() {
    check(
        component::derive,
        "write #[repr(u8)] above `enum Mode`",
        parse_quote!(
            enum Mode {
                A,
                B,
            }
        ),
    );
    check(
        component::derive,
        "#[repr(u8)]",
        parse_quote!(
            #[repr(u16)]
            enum Mode {
                A,
                B,
            }
        ),
    );
    check(
        component::derive,
        "has no fields",
        parse_quote!(
            #[repr(u8)]
            enum Mode {
                A(u8),
            }
        ),
    );
    check(
        component::derive,
        "this one is 1",
        parse_quote!(
            #[repr(u8)]
            enum Mode {
                A,
                B = 4,
            }
        ),
    );
    check(
        component::derive,
        "1 to 255",
        parse_quote!(
            #[repr(u8)]
            enum Mode {}
        ),
    );
    check(
        component::derive,
        "parameters",
        parse_quote!(
            struct Body<T> {
                x: T,
            }
        ),
    );
    check(
        component::derive,
        "needs a field",
        parse_quote!(
            struct Tag;
        ),
    );
    check(component::derive, "union", parse_quote!(union Both { a: u8, b: i8 }));
}

#[test]
fn codings() {
    let expected = "expected #[q(range = a..=b, step = s)]";
    check(
        component::derive,
        expected,
        parse_quote!(
            struct A {
                #[q(range = 0.0..=1.0)]
                x: f32,
            }
        ),
    );
    check(
        component::derive,
        expected,
        parse_quote!(
            struct A {
                #[q(max = 3, step = 1.0)]
                x: f32,
            }
        ),
    );
    check(
        component::derive,
        expected,
        parse_quote!(
            struct A {
                #[q(angle)]
                x: f32,
            }
        ),
    );
    check(
        component::derive,
        "both ends",
        parse_quote!(
            struct A {
                #[q(range = 0.0..1.0, step = 0.1)]
                x: f32,
            }
        ),
    );
    check(
        component::derive,
        "expected `range`",
        parse_quote!(
            struct A {
                #[q(size = 3)]
                x: f32,
            }
        ),
    );
    check(
        component::derive,
        "one #[q]",
        parse_quote!(
            struct A {
                #[q(max = 3)]
                #[q(max = 4)]
                x: u8,
            }
        ),
    );
    check(
        component::derive,
        "#[sync(none)]",
        parse_quote!(
            struct A {
                #[sync(all)]
                x: u8,
            }
        ),
    );
    check(
        component::derive,
        "write it above the field of the state struct",
        parse_quote!(
            struct A {
                #[interp(lerp)]
                x: f32,
            }
        ),
    );
    check(
        input::derive,
        "no meaning here",
        parse_quote!(
            struct A {
                #[sync(none)]
                x: u8,
            }
        ),
    );
    check(
        input::derive,
        "is a struct",
        parse_quote!(
            enum A {
                B,
            }
        ),
    );
}

#[test]
fn messages_and_timers() {
    check(
        message::derive,
        "for none at all use ()",
        parse_quote!(
            enum Ask {}
        ),
    );
    check(
        message::derive,
        "is an enum",
        parse_quote!(
            struct Ask {
                x: u8,
            }
        ),
    );
    check(
        message::derive,
        "unexpected token",
        parse_quote!(
            enum Ev {
                #[reliable(always)]
                Over,
            }
        ),
    );
    check(
        message::derive,
        "a #[predicted] event needs an Entity field",
        parse_quote!(
            enum Ev {
                #[predicted]
                Shot { at: Vec2 },
            }
        ),
    );
    check(
        message::derive,
        "at most 4 events are #[predicted]",
        parse_quote!(
            enum Ev {
                #[predicted]
                A(Entity),
                #[predicted]
                B(Entity),
                #[predicted]
                C(Entity),
                #[predicted]
                D(Entity),
                #[predicted]
                E(Entity),
            }
        ),
    );
    check(
        timer::derive,
        "no meaning here",
        parse_quote!(
            enum Later {
                At {
                    #[q(max = 3)]
                    x: u8,
                },
            }
        ),
    );
}

#[test]
fn states() {
    check(
        state::derive,
        "is a struct",
        parse_quote!(
            enum World {
                A,
            }
        ),
    );
    check(
        state::derive,
        "have names",
        parse_quote!(
            struct World(Column<Body>);
        ),
    );
    check(
        state::derive,
        "say who sees it",
        parse_quote!(
            struct World {
                #[sync(priority = 2.0)]
                a: Column<Body>,
            }
        ),
    );
    check(
        state::derive,
        "is enough",
        parse_quote!(
            struct World {
                #[sync(all, owner)]
                a: Column<Body>,
            }
        ),
    );
    check(
        state::derive,
        "expected `all`",
        parse_quote!(
            struct World {
                #[sync(some)]
                a: Column<Body>,
            }
        ),
    );
    let refused: [(&str, DeriveInput); 13] = [
        (
            "a state has fields",
            parse_quote!(
                struct W {}
            ),
        ),
        (
            "one #[keep] is enough",
            parse_quote!(
                struct W {
                    #[keep(1)]
                    #[keep(2)]
                    a: Column<Body>,
                }
            ),
        ),
        (
            "expected #[predict(owner)]",
            parse_quote!(
                struct W {
                    #[sync(all)]
                    #[predict(all)]
                    a: Column<Body>,
                }
            ),
        ),
        (
            "add #[sync(..)]",
            parse_quote!(
                struct W {
                    #[predict(owner)]
                    a: Column<Body>,
                }
            ),
        ),
        (
            "add #[sync(..)]",
            parse_quote!(
                struct W {
                    #[interp(lerp)]
                    a: Column<Body>,
                }
            ),
        ),
        (
            "expected `lerp` or `snap_over",
            parse_quote!(
                struct W {
                    #[sync(all)]
                    #[interp(slow)]
                    a: Column<Body>,
                }
            ),
        ),
        (
            "only a Column can be predicted",
            parse_quote!(
                struct W {
                    #[sync(all)]
                    #[predict(owner)]
                    a: Global<Body>,
                }
            ),
        ),
        (
            "take the #[sync] away",
            parse_quote!(
                struct W {
                    #[sync(all)]
                    a: Seats<Body>,
                }
            ),
        ),
        (
            "can be looked back to",
            parse_quote!(
                struct W {
                    #[keep(400)]
                    a: Timers<Later>,
                }
            ),
        ),
        (
            "is for a field of type Blobs",
            parse_quote!(
                struct W {
                    #[max(24)]
                    a: Column<Body>,
                }
            ),
        ),
        (
            "say how long a blob may be",
            parse_quote!(
                struct W {
                    #[sync(all)]
                    a: Blobs<str>,
                }
            ),
        ),
        (
            "say what the grid is of",
            parse_quote!(
                struct W {
                    a: Grid,
                }
            ),
        ),
        (
            "`body` is no Column of this struct",
            parse_quote!(
                struct W {
                    #[index(body.pos, cell = 8.0)]
                    a: Grid,
                }
            ),
        ),
    ];
    for (wanted, code) in refused {
        check(state::derive, wanted, code);
    }
    for code in [
        parse_quote!(
            struct W {
                body: Column<Body>,
                #[index(body.pos)]
                a: Grid,
            }
        ),
        parse_quote!(
            struct W {
                body: Column<Body>,
                #[index(body, cell = 8.0)]
                a: Grid,
            }
        ),
        parse_quote!(
            struct W {
                body: Column<Body>,
                #[index(body.pos, size = 8.0)]
                a: Grid,
            }
        ),
    ] {
        check(state::derive, "expected #[index(column.field, cell = size)]", code);
    }
}

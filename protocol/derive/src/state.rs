//! `#[derive(State)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, GenericArgument, Ident, Member, PathArguments, Token, Type};

/// A field of the state struct with its attributes read.
struct StateField {
    ident: Ident,
    ty: Type,
    options: TokenStream,
    index: Option<Index>,
}

/// `#[index(column.field, cell = size)]`.
struct Index {
    column: Ident,
    field: Ident,
    cell: Expr,
}

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(syn::Error::new_spanned(&input.ident, "a state is a struct"));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(syn::Error::new_spanned(&input.ident, "the fields of a state have names"));
    };
    if named.named.is_empty() {
        return Err(syn::Error::new_spanned(&input.ident, "a state has fields: what a match consists of"));
    }
    let fields = named.named.iter().map(StateField::read).collect::<syn::Result<Vec<_>>>()?;
    let ident = &input.ident;
    let name = ident.unraw().to_string();
    let declares = fields.iter().map(StateField::declare);
    let members = fields.iter().map(|field| &field.ident);
    let binds = fields.iter().map(|field| field.bind(&fields)).collect::<syn::Result<Vec<_>>>()?;
    let receives = fields.iter().map(StateField::receive);
    let hooks = fields.iter().enumerate().map(|(position, field)| field.hook(position));
    let columns = handles(&fields, "Column", "ColumnId");
    let globals = handles(&fields, "Global", "GlobalId");
    Ok(quote! {
        #[automatically_derived]
        impl ::ringfort::game::State for #ident {
            const NAME: &'static str = #name;

            fn declare(to: &mut ::ringfort::game::Declare) {
                #(#declares)*
            }

            fn bind(to: &mut ::ringfort::game::Binder) -> Self {
                Self { #(#members: #binds),* }
            }

            fn hook(&mut self, hook: ::ringfort::game::Hook) {
                #(#hooks)*
            }

            fn receive(&mut self, received: &::ringfort::game::Received<'_>) {
                #(#receives)*
            }
        }

        #[automatically_derived]
        #[allow(dead_code, private_interfaces)]
        impl #ident {
            #(#columns)*
            #(#globals)*
        }
    })
}

impl StateField {
    fn read(field: &syn::Field) -> syn::Result<StateField> {
        let ident = field.ident.clone().ok_or_else(|| syn::Error::new(field.span(), "the field needs a name"))?;
        let name = ident.unraw().to_string();
        let mut options = Options::default();
        for attribute in &field.attrs {
            options.read(attribute)?;
        }
        let read = |wrapper: &str| row_of(&field.ty, wrapper).is_some();
        options.check(field, read("Column"), read("Column") || read("Global") || read("Blobs"), read("Blobs"))?;
        let set = options.set;
        let tokens = quote! {{
            let mut options = ::ringfort::game::FieldOptions::new(#name);
            #(#set)*
            options
        }};
        Ok(StateField { ident, ty: field.ty.clone(), options: tokens, index: options.index })
    }

    fn declare(&self) -> TokenStream {
        let StateField { ty, options, .. } = self;
        // Only the type has the type's span: within a macro of the game's, names from there are not those of this function.
        let to = quote!(to);
        quote_spanned! {ty.span()=>
            <#ty as ::ringfort::game::StateField>::declare(#to, #options);
        }
    }

    fn bind(&self, all: &[StateField]) -> syn::Result<TokenStream> {
        let StateField { ty, options, index, .. } = self;
        let to = quote!(to);
        let Some(Index { column, field, cell }) = index else {
            return Ok(quote_spanned!(ty.span()=> <#ty as ::ringfort::game::StateField>::bind(#to, #options)));
        };
        let of = all.iter().position(|other| other.ident == *column);
        let (of, row) = of.and_then(|of| Some((of, row_of(&all[of].ty, "Column")?))).ok_or_else(|| {
            syn::Error::new(
                column.span(),
                format!("`{column}` is no Column of this struct: an index is of a column's Vec2 field"),
            )
        })?;
        let column = &all[of].options;
        Ok(quote_spanned! {field.span()=>
            ::ringfort::game::Grid::bind_on::<#row>(#to, #of, #column, #cell, |row: &#row| row.#field)
        })
    }

    fn receive(&self) -> TokenStream {
        let StateField { ident, ty, .. } = self;
        quote!(<#ty as ::ringfort::game::StateField>::receive(&mut self.#ident, received);)
    }

    fn hook(&self, position: usize) -> TokenStream {
        let StateField { ident, ty, .. } = self;
        quote!(<#ty as ::ringfort::game::StateField>::hook(&mut self.#ident, #position, hook);)
    }
}

/// The row type if a field's type is a `wrapper`, whatever path it is named by.
fn row_of<'t>(ty: &'t Type, wrapper: &str) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == wrapper)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(row) => Some(row),
        _ => None,
    })
}

/// The constants by which clients name the fields that are a `wrapper`. Blobs count among the columns, and have no constant: their rows
/// are of no type of the game's.
fn handles(fields: &[StateField], wrapper: &str, handle: &str) -> Vec<TokenStream> {
    let counted = |field: &&StateField| {
        row_of(&field.ty, wrapper).is_some() || (wrapper == "Column" && row_of(&field.ty, "Blobs").is_some())
    };
    let constant = |(index, field): (usize, &StateField)| {
        let row = row_of(&field.ty, wrapper)?;
        let index = index as u16;
        let name = Ident::new(&field.ident.unraw().to_string().to_uppercase(), field.ident.span());
        let handle = Ident::new(handle, field.ident.span());
        let doc = format!("Names the field `{}` to a client.", field.ident.unraw());
        Some(quote! {
            #[doc = #doc]
            pub const #name: ::ringfort::protocol::#handle<#row> = ::ringfort::protocol::#handle::new(#index);
        })
    };
    fields.iter().filter(counted).enumerate().filter_map(constant).collect()
}

/// What the attributes of a field say, as statements that change `options`.
#[derive(Default)]
struct Options {
    set: Vec<TokenStream>,
    index: Option<Index>,
    /// The first attribute of each name.
    seen: Vec<(&'static str, Span)>,
}

/// Every attribute that a field of a state may have.
const KNOWN: [&str; 6] = ["sync", "predict", "interp", "keep", "index", "max"];

impl Options {
    fn read(&mut self, attribute: &Attribute) -> syn::Result<()> {
        let Some(name) = KNOWN.into_iter().find(|name| attribute.path().is_ident(name)) else { return Ok(()) };
        if self.span(name).is_some() {
            return Err(syn::Error::new_spanned(attribute, format!("one #[{name}] is enough")));
        }
        self.seen.push((name, attribute.span()));
        match name {
            "sync" => self.sync(attribute),
            "predict" => self.predict(attribute),
            "interp" => self.interp(attribute),
            "keep" => self.number(attribute, "keep", "keep_ms", "milliseconds, as in #[keep(400)]"),
            "max" => self.number(attribute, "max", "max", "bytes, as in #[max(24)]"),
            _ => self.index(attribute),
        }
    }

    fn span(&self, name: &str) -> Option<Span> {
        self.seen.iter().find(|(seen, _)| *seen == name).map(|(_, span)| *span)
    }

    /// Refuses attributes that say nothing for a field of this kind.
    fn check(&self, field: &syn::Field, is_column: bool, is_synced: bool, is_blobs: bool) -> syn::Result<()> {
        let refuse = |name: &str, allowed: bool, message: &str| match self.span(name) {
            Some(span) if !allowed => Err(syn::Error::new(span, message)),
            _ => Ok(()),
        };
        let is_grid = matches!(&field.ty, Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "Grid"));
        refuse("sync", is_synced, "only a Column, a Global and Blobs are sent to clients: take the #[sync] away")?;
        refuse("predict", is_column, "only a Column can be predicted")?;
        refuse("interp", is_column, "only a Column is drawn between two snapshots")?;
        refuse("keep", is_column || is_grid || is_blobs, "only a Column, Blobs and a Grid can be looked back to")?;
        refuse("index", is_grid, "#[index] is for a field of type Grid")?;
        refuse("max", is_blobs, "#[max] is for a field of type Blobs")?;
        let span = field.ty.span();
        if is_blobs && self.span("max").is_none() {
            return Err(syn::Error::new(span, "say how long a blob may be: #[max(24)] for 24 bytes"));
        }
        if is_grid && self.span("index").is_none() {
            return Err(syn::Error::new(span, "say what the grid is of: #[index(body.pos, cell = 8.0)]"));
        }
        if let (Some(span), None) = (self.span("predict").or(self.span("interp")), self.span("sync")) {
            return Err(syn::Error::new(span, "a client can do this only with what it is sent: add #[sync(..)]"));
        }
        Ok(())
    }

    /// `#[sync(all | owner | none | near = radius, once, rate = hz, priority = weight)]`.
    fn sync(&mut self, attribute: &Attribute) -> syn::Result<()> {
        let mut visibility = None;
        attribute.parse_nested_meta(|meta| {
            let seen_by = |variant: TokenStream| quote!(::ringfort::protocol::schema::Sync::#variant);
            let found = if meta.path.is_ident("all") {
                seen_by(quote!(All))
            } else if meta.path.is_ident("owner") {
                seen_by(quote!(Owner))
            } else if meta.path.is_ident("none") {
                seen_by(quote!(None))
            } else if meta.path.is_ident("near") {
                let radius = meta.value()?.parse::<Expr>()?;
                seen_by(quote!(Near(#radius)))
            } else {
                self.sync_option(&meta)?;
                return Ok(());
            };
            if visibility.replace(found).is_some() {
                return Err(meta.error("one of `all`, `owner`, `none` and `near` is enough"));
            }
            Ok(())
        })?;
        let message = "say who sees it: `all`, `owner`, `none` or `near = radius`";
        let visibility = visibility.ok_or_else(|| syn::Error::new_spanned(attribute, message))?;
        self.set.push(quote!(options.sync = #visibility;));
        Ok(())
    }

    fn sync_option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        if meta.path.is_ident("priority") {
            let weight = meta.value()?.parse::<Expr>()?;
            self.set.push(quote!(options.priority = #weight;));
        } else if meta.path.is_ident("rate") {
            let hz = meta.value()?.parse::<Expr>()?;
            self.set.push(quote!(options.rate = #hz;));
        } else if meta.path.is_ident("once") {
            self.set.push(quote!(options.once = true;));
        } else {
            return Err(
                meta.error("expected `all`, `owner`, `none`, `near = radius`, `once`, `rate = hz` or `priority = weight`")
            );
        }
        Ok(())
    }

    /// `#[predict(owner)]`.
    fn predict(&mut self, attribute: &Attribute) -> syn::Result<()> {
        let by = attribute.parse_args::<Ident>().ok().filter(|by| by == "owner");
        if by.is_none() {
            return Err(syn::Error::new_spanned(attribute, "expected #[predict(owner)]: an entity is predicted by its owner"));
        }
        self.set.push(quote!(options.predict = true;));
        Ok(())
    }

    /// `#[interp(lerp)]` or `#[interp(lerp, snap_over = distance)]`.
    fn interp(&mut self, attribute: &Attribute) -> syn::Result<()> {
        let (mut lerp, mut most) = (false, quote!(f32::INFINITY));
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("lerp") {
                lerp = true;
            } else if meta.path.is_ident("snap_over") {
                let distance = meta.value()?.parse::<Expr>()?;
                most = quote!(#distance);
            } else {
                return Err(meta.error("expected `lerp` or `snap_over = distance`"));
            }
            Ok(())
        })?;
        if !lerp {
            return Err(syn::Error::new_spanned(attribute, "expected #[interp(lerp)] or #[interp(lerp, snap_over = distance)]"));
        }
        self.set.push(quote!(options.interp = ::core::option::Option::Some(#most);));
        Ok(())
    }

    fn number(&mut self, attribute: &Attribute, name: &str, option: &str, what: &str) -> syn::Result<()> {
        let number = attribute.parse_args::<Expr>();
        let number = number.map_err(|_| syn::Error::new_spanned(attribute, format!("#[{name}] takes a number of {what}")))?;
        let option = Ident::new(option, attribute.span());
        self.set.push(quote!(options.#option = #number;));
        Ok(())
    }

    /// `#[index(column.field, cell = size)]`.
    fn index(&mut self, attribute: &Attribute) -> syn::Result<()> {
        let wrong = || {
            syn::Error::new_spanned(
                attribute,
                "expected #[index(column.field, cell = size)], as in #[index(body.pos, cell = 8.0)]",
            )
        };
        let parts = attribute.parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated).map_err(|_| wrong())?;
        let (Some(Expr::Field(place)), Some(Expr::Assign(cell)), 2) = (parts.first(), parts.last(), parts.len()) else {
            return Err(wrong());
        };
        let (Expr::Path(column), Member::Named(field), Expr::Path(name)) = (&*place.base, &place.member, &*cell.left) else {
            return Err(wrong());
        };
        let column = column.path.get_ident().ok_or_else(wrong)?.clone();
        if !name.path.is_ident("cell") {
            return Err(wrong());
        }
        self.index = Some(Index { column, field: field.clone(), cell: (*cell.right).clone() });
        Ok(())
    }
}

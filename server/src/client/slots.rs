//! Input slots: the program gets one for every input that is due, and gives it back by sending.

use std::cell::RefCell;
use std::rc::Rc;

use ringfort_protocol::TickNo;

use super::Client;
use crate::game::Game;

/// The input slots that are due now. One that is not taken stays due for a while.
pub struct Slots<'c, G: Game> {
    client: Rc<RefCell<&'c mut Client<G>>>,
}

impl<'c, G: Game> Slots<'c, G> {
    pub(super) fn new(client: &'c mut Client<G>) -> Slots<'c, G> {
        Slots { client: Rc::new(RefCell::new(client)) }
    }
}

impl<'c, G: Game> Iterator for Slots<'c, G> {
    type Item = Slot<'c, G>;

    fn next(&mut self) -> Option<Slot<'c, G>> {
        self.client.borrow_mut().take_slot().then(|| Slot { client: Rc::clone(&self.client), predicted: RefCell::default() })
    }
}

/// One input's place in time. A slot that is dropped is an input that was not given: the server repeats the last.
#[must_use = "an input slot is used by `send`"]
pub struct Slot<'c, G: Game> {
    client: Rc<RefCell<&'c mut Client<G>>>,
    predicted: RefCell<Vec<G::Event>>,
}

impl<G: Game> Slot<'_, G> {
    /// The tick of the newest snapshot, which this input answers.
    pub fn tick(&self) -> TickNo {
        self.client.borrow().view().tick()
    }

    /// Shows an event at once that the server is expected to send for this input. It comes as [`Sure::Predicted`](super::Sure) when the
    /// input is sent, and once more as [`Sure::Cancelled`](super::Sure) if the server decides otherwise. Returns `false`, and shows
    /// nothing, when the variant is not `#[predicted]`, too many wait for the server's word, or one of this variant is predicted for
    /// this input already: the server has one word for each input and variant.
    pub fn predict(&self, event: G::Event) -> bool {
        let mut predicted = self.predicted.borrow_mut();
        let possible = self.client.borrow().playing().can_predict(&event, &predicted);
        if possible {
            predicted.push(event);
        }
        possible
    }

    /// Sends the input for this slot. A button that the last input held, too, loses its edge.
    pub fn send(self, input: G::Input) {
        self.client.borrow_mut().send(input, &self.predicted.borrow());
    }
}

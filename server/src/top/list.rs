//! A list that one moves in: what is chosen, how it is sorted, what is left of it.

/// State of a list. What is chosen is remembered by its key, so that it stays chosen when the order changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Key of the chosen row.
    pub key: Option<u64>,
    /// Its place.
    pub at: usize,
    /// Column that it is sorted by.
    pub sort: usize,
    /// Whether the largest come first.
    pub descending: bool,
    /// What its rows have to contain.
    pub filter: String,
}

impl List {
    /// Finds the chosen row among these, or for now chooses the one that has come into its place.
    pub fn settle(&mut self, keys: &[u64]) {
        let found = self.key.and_then(|key| {
            let same = keys.get(self.at) == Some(&key);
            if same { Some(self.at) } else { keys.iter().position(|other| *other == key) }
        });
        self.at = found.unwrap_or(self.at).min(keys.len().saturating_sub(1));
    }

    /// Chooses the first row, whichever it is: until one moves, that is the first of the order.
    pub fn choose_first(&mut self) {
        (self.at, self.key) = (0, None);
    }

    /// Keeps rows that contain this.
    pub fn set_filter(&mut self, filter: String) {
        if filter != self.filter {
            self.filter = filter;
            self.choose_first();
        }
    }

    /// Moves by so many rows.
    pub fn step(&mut self, rows: isize, keys: &[u64]) {
        self.at = self.at.saturating_add_signed(rows).min(keys.len().saturating_sub(1));
        self.key = keys.get(self.at).copied();
    }

    /// The key of the chosen row, if it is there.
    pub fn chosen(&self, keys: &[u64]) -> Option<u64> {
        keys.get(self.at).copied()
    }

    /// Sorts by the next column of so many, or by the one before.
    pub fn next_sort(&mut self, columns: usize, back: bool) {
        let step = if back { columns.saturating_sub(1) } else { 1 };
        self.sort = (self.sort + step) % columns.max(1);
        self.choose_first();
    }

    /// Turns the order around.
    pub fn reverse(&mut self) {
        self.descending = !self.descending;
        self.choose_first();
    }

    /// The first row of the page that shows the chosen one.
    pub fn page(&self, height: usize) -> usize {
        self.at / height.max(1) * height.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_stays_so_when_the_order_changes() {
        let mut list = List::default();
        list.settle(&[7, 8, 9]);
        list.step(1, &[7, 8, 9]);
        list.settle(&[9, 7, 8]);
        assert_eq!((list.chosen(&[9, 7, 8]), list.at), (Some(8), 2));
        list.settle(&[9]);
        assert_eq!(list.chosen(&[9]), Some(9), "it is gone: the one in its place");
        list.settle(&[9, 7, 8]);
        assert_eq!(list.chosen(&[9, 7, 8]), Some(8), "it is back");
    }

    #[test]
    fn the_first_of_the_order_is_chosen_until_one_moves() {
        let mut list = List::default();
        list.settle(&[7, 8, 9]);
        list.settle(&[9, 8, 7]);
        assert_eq!((list.chosen(&[9, 8, 7]), list.at), (Some(9), 0));
        list.step(2, &[9, 8, 7]);
        list.set_filter("x".to_owned());
        list.settle(&[8, 9]);
        assert_eq!((list.chosen(&[8, 9]), list.at), (Some(8), 0));
        list.step(1, &[8, 9]);
        list.reverse();
        assert_eq!(list.at, 0);
    }

    #[test]
    fn moving_and_sorting_stay_within_the_list() {
        let mut list = List::default();
        list.step(-5, &[1, 2]);
        assert_eq!(list.at, 0);
        list.step(50, &[1, 2]);
        assert_eq!((list.at, list.key), (1, Some(2)));
        list.step(1, &[]);
        assert_eq!((list.at, list.key), (0, None));
        list.next_sort(3, true);
        list.next_sort(3, true);
        list.next_sort(3, true);
        list.next_sort(3, false);
        assert_eq!(list.sort, 1);
        list.next_sort(0, true);
        assert_eq!(List { at: 25, ..list }.page(10), 20);
    }
}

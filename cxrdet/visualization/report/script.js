'use strict';

// A head's button sorts its table: numbers falling first, words rising first; what has no value stays last.
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const numbers = head.classList.contains('number');
    const before = head.getAttribute('aria-sort');
    const rising = before === 'none' ? !numbers : before === 'descending';
    for (const other of heads) other.setAttribute('aria-sort', 'none');
    head.setAttribute('aria-sort', rising ? 'ascending' : 'descending');
    const key = row => numbers ? row.cells[column].dataset.value : row.cells[column].textContent.trim();
    const rows = [...table.tBodies[0].rows];
    const compare = (a, b) => numbers ? Number(a) - Number(b) : a.localeCompare(b, 'en', { numeric: true });
    rows.sort((one, other) => {
      const a = key(one), b = key(other);
      if (a === '' || b === '') return (a === '') - (b === '');
      return rising ? compare(a, b) : compare(b, a);
    });
    table.tBodies[0].append(...rows);
  }));
}

// The gallery shows the pictures that have an error of the chosen kind in the chosen class.
for (const gallery of document.querySelectorAll('.gallery')) {
  const [ofClass, ofKind] = gallery.querySelectorAll('select');
  const count = gallery.querySelector('[role=status]');
  const cards = [...gallery.querySelectorAll('.card')];
  const marks = cards.map(card => card.dataset.marks.split(' ').filter(Boolean).map(mark => mark.split(':')));
  const filter = () => {
    let shown = 0;
    cards.forEach((card, i) => {
      const fits = (!ofClass.value && !ofKind.value) || marks[i].some(([label, kind]) =>
        (!ofClass.value || label === ofClass.value) && (!ofKind.value || kind === ofKind.value));
      card.hidden = !fits;
      shown += fits;
    });
    count.textContent = `${shown} of ${cards.length} pictures`;
  };
  ofClass.addEventListener('change', filter);
  ofKind.addEventListener('change', filter);
  filter();
}

// A picture grows to the full width, and back.
for (const button of document.querySelectorAll('.card button')) {
  button.addEventListener('click', () => {
    const large = button.closest('.card').classList.toggle('large');
    button.setAttribute('aria-expanded', String(large));
  });
}

/** Puts text into the page: always as text, never as HTML, and only where it has changed, so that a selection stays. */

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** Makes an element with a class and a text. */
export function make(name, kind = '', text = '') {
  const made = document.createElement(name)
  if (kind !== '') made.className = kind
  made.textContent = text
  return made
}

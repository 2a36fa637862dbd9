// Without this script the page works as well: forms are sent and pages come. With it suggestions follow what
// is typed, and an answer takes the place of the form's page without a new one.
'use strict';

const said = () => document.getElementById('said');
let typed = 0;

function tell(text) {
  said().textContent = text;
}

async function suggest(input) {
  const turn = ++typed;
  await new Promise(wake => setTimeout(wake, 150));
  if (turn !== typed) return;
  const query = new URLSearchParams({contains: input.value});
  const answer = await fetch(`/choices/${encodeURIComponent(input.name)}?${query}`);
  if (!answer.ok || turn !== typed) return;
  const {choices} = await answer.json();
  const options = choices.map(choice => {
    const option = document.createElement('option');
    option.value = String(choice.value);
    option.textContent = choice.about;
    return option;
  });
  input.list.replaceChildren(...options);
}

function take(page, focused) {
  const next = new DOMParser().parseFromString(page, 'text/html');
  const main = next.querySelector('main');
  document.querySelector('main').replaceWith(document.adoptNode(main));
  document.title = next.title;
  const wrong = document.querySelector('main [aria-invalid=true]');
  (wrong || document.getElementById(focused) || document.getElementById('content')).focus();
  const heard = next.getElementById('said');
  const made = document.querySelector('.done');
  tell(made ? made.textContent : heard ? heard.dataset.said : '');
}

async function send(form, address, more, focused) {
  const button = form.querySelector('button');
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  tell('The model is asked …');
  try {
    const answer = await fetch(address, {...more, headers: {accept: 'text/html'}});
    const page = await answer.text();
    history.pushState(null, '', answer.redirected ? answer.url : more.method ? location.href : address);
    take(page, focused);
  } catch {
    tell('This page does not answer. Try again.');
  } finally {
    button.removeAttribute('aria-busy');
  }
}

document.addEventListener('submit', event => {
  const form = event.target;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form));
  if (form.method === 'post') send(form, form.action, {method: 'POST', body: fields}, 'decision');
  else send(form, `/forecast?${fields}`, {}, 'answer');
});

document.addEventListener('input', event => {
  if (event.target.matches('input[data-choices]')) suggest(event.target).catch(() => {});
});

addEventListener('popstate', () => location.reload());

// The board as a function of its events. State is a map of tasks by id.

export const COLUMNS = { todo: 'To do', doing: 'Doing', done: 'Done' };

/**
 * The tasks after an event. Each task says by `rev` how late it is, so an event that is part of the fetched state
 * already changes nothing.
 */
export function reduce(tasks, { type, data }) {
  const known = tasks.get(data.id);
  if (known && known.rev >= data.rev) return tasks;
  return type === 'task_deleted' ? without(tasks, data.id) : withTask(tasks, data);
}

/** The tasks with one changed as the user wants it, before the service has said so. */
export function changed(tasks, id, change) {
  const task = tasks.get(id);
  return task ? withTask(tasks, { ...task, ...change }) : tasks;
}

export function withTask(tasks, task) {
  return new Map(tasks).set(task.id, task);
}

export function without(tasks, id) {
  const rest = new Map(tasks);
  rest.delete(id);
  return rest;
}

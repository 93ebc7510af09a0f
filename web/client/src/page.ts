/** What the page, or the machine under it, tells a connection. */
export interface PageSignals {
  /** There is a network again, perhaps another one. */
  online(): void;
  /** There is none. */
  offline(): void;
  /** The page is looked at again: it may have slept. */
  awake(): void;
  /** The page came back from the back/forward cache, where its streams did not follow it. */
  show(): void;
}

/** Listens where there is a page, and elsewhere to nothing, until the signal says so. */
export function watchPage({ online, offline, awake, show }: PageSignals, signal: AbortSignal): void {
  const on = (target: EventTarget | undefined, type: string, call: (event: Event) => void): void =>
    target?.addEventListener?.(type, call, { signal });
  const page = typeof document === 'object' ? document : undefined;
  const world = globalThis as unknown as EventTarget;
  on(world, 'online', online);
  on(world, 'offline', offline);
  on(world, 'pageshow', (event) => (event as PageTransitionEvent).persisted && show());
  on(page, 'visibilitychange', () => page?.visibilityState === 'visible' && awake());
}

/** Whether the browser is sure that there is no network. */
export function isOffline(): boolean {
  return typeof navigator === 'object' && navigator.onLine === false;
}

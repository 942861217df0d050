// The composite ops that the model, the losses and the optimisers are written in.
export * from './attention.js';
export * from './flat.js';
export * from './losses.js';
export * from './mlp.js';
export * from './norm.js';
export * from './primitive.js';
export * from './product.js';
export * from './rotary.js';
export * from './rows.js';

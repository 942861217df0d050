// Loads every kernel rule of the onnx engine.
import './elementwise.js';
import './shape.js';
import './reduce.js';
import './products.js';
import './topk.js';
import './composite.js';
